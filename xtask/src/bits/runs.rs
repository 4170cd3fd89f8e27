//! The training runs to hash.

/// Options that several runs share, and the options of each run. On images, a second epoch begins, and the batches do not divide an epoch
/// evenly. Some widths fill vector registers, and some do not.
pub const TRAINED: [(&str, &[&str]); 5] = [
    (
        "--device cpu --data images --limit-train 28 --limit-test 12 --batch 8 --steps 4 --eval-every 2 --probe landscape,\
         predictiveness:2,random,ics,curvature,activations,moments --probe-every 3 --probe-points 3 --probe-lanczos 4 \
         --probe-hutchinson 2",
        &[
            "--model vgg11 --width 0.125 --norm none --probe theory:3",
            "--model vgg13 --width 0.125 --norm batch --probe theory:3",
            "--model vgg16 --width 0.07 --norm noisy --probe-spacing linear --probe-units 3",
            "--model vgg19 --width 0.125 --norm l1 --probe-layers 2,9,16 --probe-pre-norm",
            "--model vgg11 --width 0.07 --norm l2 --probe-bins 10 --probe-bin-range -1:2",
            "--model vgg11 --width 0.125 --norm linf --noise --noise-mean 0.2 --noise-scale 1.1 --noise-spread 0.3",
            "--model vgg11 --width 0.125 --norm lp:1.5 --eps 1e-3 --activation elu",
            "--model vgg11 --width 0.07 --norm layer --activation selu --momentum 0.9",
            "--model vgg11 --width 0.125 --norm group:4 --noise",
            "--model vgg11 --width 0.125 --norm instance --weight-decay 0.01",
            "--model vgg11 --width 0.125 --norm weight --momentum 0.9 --weight-decay 0.001",
            "--model vgg11 --width 0.125 --norm batch --augment --seed 7 --direct-convolution",
            "--model vgg11 --width 0.125 --norm none --noise --activation selu --augment",
            "--model vgg11 --width 0.125 --norm batch --precision f64 --augment --momentum 0.5 --probe theory:3",
            "--model vgg11 --width 0.07 --norm noisy --precision f64 --activation elu",
            "--model vgg13 --width 0.07 --norm group:1 --precision f64",
            "--model vgg11 --width 0.07 --norm renorm",
        ],
    ),
    (
        "--model dln --device cpu --steps 6 --probe landscape,predictiveness:2,random,ics,curvature,activations,moments \
         --probe-every 5 --probe-points 5 --probe-lanczos 5 --probe-hutchinson 2",
        &[
            "--norm batch --probe theory:3",
            "--norm none --depth 3 --dim 17 --samples 90 --probe theory:3",
            "--norm l1 --norm-last --depth 8 --dim 16 --samples 150",
            "--norm linf --mean-loss --lr 1e-4 --depth 8 --dim 7 --samples 150",
            "--norm lp:3 --half-loss --depth 8 --samples 150 --batch 40 --momentum 0.9",
            "--norm noisy --depth 5 --samples 150 --batch 40 --probe theory:3",
            "--norm layer --depth 5 --samples 150 --weight-decay 0.001",
            "--norm weight --depth 5 --samples 150",
            "--norm l2 --precision f32 --depth 8 --samples 150",
        ],
    ),
    (
        "--device emulator --data images --limit-train 10 --limit-test 4 --batch 4 --steps 3 --eval-every 3",
        &[
            "--model vgg11 --width 0.02 --norm batch --probe landscape,random,ics,curvature,activations,moments,theory --probe-at 2 \
             --probe-units 1 --probe-points 2 --probe-lanczos 2 --probe-hutchinson 1",
            "--model vgg16 --width 0.02 --norm none --probe predictiveness:2 --probe-points 3",
            "--model vgg13 --width 0.02 --norm noisy --precision tf32 --augment",
            "--model vgg11 --width 0.07 --norm batch --precision bf16 --momentum 0.9 --weight-decay 0.001",
            "--model vgg11 --width 0.02 --norm l1 --precision bf16 --activation elu --probe landscape:2",
            "--model vgg11 --width 0.02 --norm linf --activation selu --probe curvature:3 --probe-lanczos 2",
            "--model vgg11 --width 0.07 --norm group:1 --precision tf32 --noise --probe ics:2",
            "--model vgg11 --width 0.02 --norm weight --momentum 0.9 --probe curvature:3 --probe-lanczos 2",
            "--model vgg11 --width 0.02 --norm instance --probe curvature:3 --probe-lanczos 2",
            "--model vgg11 --width 0.02 --norm renorm:1.5:0.5 --probe curvature:3 --probe-lanczos 2",
        ],
    ),
    (
        "--model dln --device emulator --samples 40 --steps 3 --probe landscape,ics,curvature,activations,moments --probe-at 2 \
         --probe-points 2 --probe-lanczos 2 --probe-hutchinson 1",
        &[
            "--norm batch --depth 4 --probe theory:3",
            "--norm lp:3 --depth 4 --norm-last --batch 20 --momentum 0.5",
            "--norm layer --depth 3 --dim 18 --mean-loss",
            "--norm none --depth 3 --precision tf32 --noise --probe theory:3",
        ],
    ),
    (
        "--device cpu --data images --limit-train 256 --limit-test 100 --batch 128 --steps 3 --eval-every 3 --probe landscape:2 \
         --probe-points 3",
        &["--model vgg16 --width 0.25 --norm batch", "--model vgg11 --width 0.125 --norm none --lr 1e12"],
    ),
];
