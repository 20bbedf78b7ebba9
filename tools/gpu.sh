#!/usr/bin/env bash
# Test and time the library on a machine with a CUDA GPU, from a checkout that is not installed. It needs no network.
#
#   tools/gpu.sh                                          # on "cuda", in at most eight minutes
#   INCEPTIONZOO_TEST_DEVICE=cpu tools/gpu.sh --quick     # on the CPU, to test this script
#
# Further arguments go to tools/gpu_bench.py. PYTHON is the interpreter, MINUTES the time for tests and benchmark together.
# The exit status is 0 if everything has passed, 1 if a test or a part of the benchmark has failed, 2 if nothing could run.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
seconds=$(( ${MINUTES:-7} * 60 ))
export INCEPTIONZOO_TEST_DEVICE=${INCEPTIONZOO_TEST_DEVICE:-cuda}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

$python tools/gpu_machine.py --device "$INCEPTIONZOO_TEST_DEVICE" || exit 2

echo; echo "Tests"
timeout --kill-after 10 $(( seconds / 2 )) $python -m pytest -q -W default -p no:cacheprovider -m gpu \
  tests/test_gpu.py tests/test_gpu_training.py
tests=$?

echo; echo "Benchmark"
left=$(( seconds > SECONDS ? seconds - SECONDS : 0 ))
timeout --kill-after 10 $(( left + 45 )) $python tools/gpu_bench.py --device "$INCEPTIONZOO_TEST_DEVICE" \
  --minutes "$(( left / 60 )).$(( left % 60 / 6 ))" "$@"
bench=$?

echo; echo "exit status of the tests: $tests; of the benchmark: $bench; $SECONDS seconds"
(( tests == 0 && bench == 0 ))
