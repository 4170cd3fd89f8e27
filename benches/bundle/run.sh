#!/usr/bin/env bash
# Everything that is to be done on a machine with a GPU and no Rust: parity, the sanitizers, the benchmarks beside PyTorch.
# Usage: ./run.sh [OUT] [PART...]; parts are parity, sanitizers, same_bits and bench, all of them where none is named. Writes OUT/*.json and
# OUT/*.log, and puts everything into OUT/results.json. A part that fails does not stop the others.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-results}
shift || true
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(parity sanitizers same_bits bench)
mkdir -p "$out"
out=$(cd "$out" && pwd)
export NORMSCAPE_TEST_DEVICE=cuda NORMSCAPE_GOLDEN=$here/golden NORMSCAPE_CACHE=$out/cache CI=false
normscape=$here/normscape
python=${PYTHON:-python3}

# step NAME COMMAND...: runs it, keeps its output in NAME.log and its exit status and seconds in NAME.status.
step() {
  local name=$1 begin=$SECONDS status=0
  shift
  timeout "${LIMIT:-600}" "$@" >"$out/$name.log" 2>&1 || status=$?
  echo "$status $((SECONDS - begin))" >"$out/$name.status"
  echo "$name: exit $status after $((SECONDS - begin)) s"
}

"$normscape" info --json >"$out/info.json" 2>"$out/info.log" || true

for part in "${parts[@]}"; do
  case $part in
  parity)
    step parity "$here/tests/parity" --test-threads 1 --quiet
    step golden "$here/tests/golden" --test-threads 1 --quiet cuda_f32
    for name in cuda_kernels cuda_networks; do step "$name" "$here/tests/$name" --test-threads 1; done
    ;;
  sanitizers)
    if ! command -v compute-sanitizer >/dev/null; then
      echo "compute-sanitizer is not there" | tee "$out/sanitizers.log"
      continue
    fi
    for tool in memcheck racecheck initcheck synccheck; do
      # A planted mistake first: a tool that does not see it has seen nothing. It must fail.
      step "planted_$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" "$here/planted.py" "$tool"
      step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/tests/parity" --test-threads 1 --quiet odd_channels
      step "${tool}_chain" compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/tests/cuda_kernels" --test-threads 1 runs_go_side
      step "${tool}_norm" compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/tests/parity" --test-threads 1 --quiet batch_norm
    done
    ;;
  same_bits)
    for precision in f32 tf32 bf16; do
      for i in $(seq 20); do
        run=$out/bits/$precision-$i
        "$normscape" train --model vgg11 --width 0.5 --norm noisy --data images --augment --steps 8 --batch 64 --seed 3 --device cuda \
          --precision "$precision" --out "$run" --quiet >>"$out/same_bits.log" 2>&1
        sha256sum <"$run/checkpoints/step-8/parameters.safetensors"
      done | sort | uniq -c >"$out/same_bits_$precision.txt"
    done
    for i in $(seq 20); do
      run=$out/bits/dln-$i
      "$normscape" train --model dln --norm batch --steps 8 --seed 3 --device cuda --out "$run" --quiet >>"$out/same_bits.log" 2>&1
      sha256sum <"$run/checkpoints/step-8/parameters.safetensors"
    done | sort | uniq -c >"$out/same_bits_dln.txt"
    rm -rf "$out/bits"
    ;;
  bench)
    for precision in bf16 tf32 f32; do
      "$normscape" bench --full --device cuda --precision "$precision" --json --quiet >"$out/bench_$precision.json" 2>"$out/bench_$precision.log"
      for compile in none max-autotune; do
        name=torch_${precision}_$compile
        timeout 300 "$python" "$here/peers/vgg.py" --device cuda --precision "$precision" --compile "$compile" --steps 100 --warm-up 20 \
          >"$out/$name.json" 2>"$out/$name.log"
      done
    done
    timeout 120 "$python" "$here/peers/dln.py" --device cuda >"$out/torch_dln.json" 2>"$out/torch_dln.log"
    ;;
  *) echo "no part '$part'" >&2 ;;
  esac
done
"$python" "$here/collect.py" "$out"
