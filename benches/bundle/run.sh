#!/usr/bin/env bash
# Everything that is to be done on a machine with a GPU and no Rust: parity, the sanitizers, the benchmarks beside PyTorch.
# Usage: ./run.sh [OUT] [PART...]; parts are parity, sanitizers, same_bits and bench, all of them where none is named. Writes OUT/*.json and
# OUT/*.log, and puts everything into OUT/results.json, with a verdict. A part that fails does not stop the others; the exit status is 1 where
# the verdict is "fail". PYTHON names a Python with PyTorch, unless python3 is one.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-results}
shift || true
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(parity sanitizers same_bits bench)
mkdir -p "$out"
out=$(cd "$out" && pwd)
export NORMSCAPE_TEST_DEVICE=cuda NORMSCAPE_GOLDEN=$here/golden NORMSCAPE_CACHE=$out/cache TORCHINDUCTOR_CACHE_DIR=$out/cache/inductor CI=false
normscape=$here/normscape
python=${PYTHON:-python3}
# The program asks python3 where NVIDIA's packages are: it must be this one.
if place=$(command -v "$python"); then
  PATH=$(cd "$(dirname "$place")" && pwd):$PATH
  export PATH
fi

# expect KIND NAME: what is to be there in the end, so that collect.py misses what is not.
expect() {
  echo "$1 $2" >>"$out/expected.txt"
  rm -f "$out/$2.status" "$out/$2.json" "$out/$2.log" "$out/$2.blocking.log"
}

# timed NAME TO COMMAND...: runs it with its standard output in the file TO and standard error in NAME.log, which may be TO; keeps its exit
# status and seconds in NAME.status. 124 is a timeout, after LIMIT seconds.
timed() {
  local name=$1 to=$2 begin=$SECONDS status=0
  shift 2
  if [ "$to" = "$out/$name.log" ]; then
    timeout "${LIMIT:-600}" "$@" >"$to" 2>&1 || status=$?
  else
    timeout "${LIMIT:-600}" "$@" >"$to" 2>"$out/$name.log" || status=$?
  fi
  echo "$status $((SECONDS - begin))" >"$out/$name.status"
  echo "$name: exit $status after $((SECONDS - begin)) s"
  return "$status"
}

# step KIND NAME COMMAND...: both outputs in NAME.log.
step() {
  expect "$1" "$2"
  timed "$2" "$out/$2.log" "${@:3}"
}

# blocking KIND NAME COMMAND...: the same; where it fails once more with every launch waited for, since a fault is else told of any later call.
blocking() {
  step "$@" && return
  CUDA_LAUNCH_BLOCKING=1 timeout "${LIMIT:-600}" "${@:3}" >"$out/$2.blocking.log" 2>&1
}

# measure KIND NAME COMMAND...: a line of JSON in NAME.json, the rest in NAME.log.
measure() {
  expect "$1" "$2"
  timed "$2" "$out/$2.json" "${@:3}"
}

# same_bits NAME OPTIONS...: twenty runs; a line for each different result, with how often it came.
same_bits() {
  local name=$1 i run
  shift
  expect bits "same_bits_$name"
  for i in $(seq 20); do
    run=$out/bits/$name-$i
    "$normscape" train "$@" --steps 8 --seed 3 --device cuda --out "$run" --quiet >>"$out/same_bits_$name.log" 2>&1
    sha256sum <"$run/checkpoints/step-8/parameters.safetensors"
  done | sort | uniq -c >"$out/same_bits_$name.txt"
  rm -rf "$out/bits"
}

"$normscape" info --json >"$out/info.json" 2>"$out/info.log" || true

for part in "${parts[@]}"; do
  case $part in
  parity)
    # Each in a process of its own: after a fault nothing more runs on a device in the same one.
    blocking tests parity "$here/tests/operators" --test-threads 1 --quiet parity::
    blocking tests golden "$here/tests/operators" --test-threads 1 --quiet --skip tangents:: cuda_f32
    for name in cuda_kernels cuda_networks cuda_precision; do blocking tests "$name" "$here/tests/device" --test-threads 1 "$name::"; done
    for name in hessian curvature; do blocking tests "$name" "$here/tests/networks" --test-threads 1 "$name::"; done
    ;;
  sanitizers)
    # Lines of kernels are told where they can be compiled here, with line numbers; what the build compiled has none.
    grep -Eq '"nvrtc": *"' "$out/info.json" && export NORMSCAPE_LINE_INFO=1
    for tool in memcheck racecheck initcheck synccheck; do
      # Memory that starts as something has been written already: initcheck would see nothing.
      export NORMSCAPE_GPU_MEMORY=guarded
      [ "$tool" = initcheck ] && export NORMSCAPE_GPU_MEMORY=bare
      check=(compute-sanitizer --tool "$tool" --error-exitcode 9)
      # A kernel without a mistake first, which must pass: else the tool does not work here. Then one with a mistake: a tool that does not
      # see it has seen nothing.
      step control "control_$tool" "${check[@]}" "$python" "$here/planted.py" none
      step planted "planted_$tool" "${check[@]}" "$python" "$here/planted.py" "$tool"
      if [ "$tool" = synccheck ]; then
        step planted planted_synccheck_return "${check[@]}" "$python" "$here/planted.py" synccheck_return
      fi
      step sanitized "$tool" "${check[@]}" "$here/tests/operators" --test-threads 1 --quiet parity::conv2d::odd_channels
      step sanitized "${tool}_chain" "${check[@]}" "$here/tests/device" --test-threads 1 runs_go_side
      for norm in batch_norm noisy_batch_norm; do
        step sanitized "${tool}_$norm" "${check[@]}" "$here/tests/operators" --test-threads 1 --quiet "parity::$norm::"
      done
    done
    unset NORMSCAPE_LINE_INFO NORMSCAPE_GPU_MEMORY
    ;;
  same_bits)
    for precision in f32 tf32 bf16; do
      same_bits "$precision" --model vgg11 --width 0.5 --norm noisy --data images --augment --batch 64 --precision "$precision"
    done
    same_bits dln --model dln --norm batch
    ;;
  bench)
    for precision in bf16 tf32 f32; do
      measure bench "bench_$precision" "$normscape" bench --full --layers --device cuda --precision "$precision" --json --quiet
      # A cold max-autotune tries hundreds of kernels.
      for way in eager graph max-autotune max-autotune-graph; do
        LIMIT=1800 measure torch "torch_vgg_${precision}_$way" "$python" "$here/peers/vgg.py" --device cuda --precision "$precision" --way "$way" \
          --steps 200 --warm-up 20
      done
    done
    for way in eager graph reduce-overhead max-autotune max-autotune-graph; do
      LIMIT=900 measure torch "torch_dln_f32_$way" "$python" "$here/peers/dln.py" --device cuda --way "$way" --steps 1000
    done
    ;;
  *) echo "no part '$part'" >&2 ;;
  esac
done
"$python" "$here/collect.py" "$out" "${parts[@]}"
