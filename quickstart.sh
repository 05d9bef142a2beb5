#!/usr/bin/env bash
# A fresh Debian 12 or Ubuntu -> the SQL expert, trained on generated rows on the bundled base and shown beside it.
# Some minutes on 2 cores. Usage: ./quickstart.sh [--no-install]. Everything lands in build/quickstart and runs/quickstart.
set -euo pipefail
cd "$(dirname "$0")"

started=$SECONDS
stage=start
finish() {
  local status=$?
  [ "$status" -eq 0 ] || echo "quickstart.sh: stopped in \"$stage\" after $((SECONDS - started)) s." >&2
}
trap finish EXIT
say() {
  stage=$2
  printf '\n== %s of 6: %s (%d s) ==\n' "$1" "$2" $((SECONDS - started))
}

base=experts/tiny-base
expert=experts/expert-sql/tiny
out=runs/quickstart
bin=build/quickstart/bin
rows=800

say 1 "packages"
if [ "${1-}" != "--no-install" ]; then tools/install_dependencies.sh quickstart; fi

say 2 "build"
cmake -S . -B build/quickstart -G Ninja -DCMAKE_BUILD_TYPE=Release -DEXPERT_BUILD_TESTS=OFF \
  -DEXPERT_BUILD_BENCH=OFF "-DEXPERT_CLI_EXPERTS=TinySqlExpert=$PWD/experts/expert-sql/expert.hpp" >/dev/null
cmake --build build/quickstart --target expert-cli expert-sql-tiny-train

say 3 "rows: schemas, questions and statements from a seed"
rm -rf "$out"
mkdir -p "$out"
python3 "$expert/make_rows.py" train --out "$out/train.jsonl.gz"
python3 "$expert/make_rows.py" test --out "$out/test.jsonl" --rows "$rows"
python3 "$expert/make_rows.py" native --out "$out/native.jsonl" --rows "$rows"

say 4 "training the adapter"
"$bin/expert-sql-tiny-train" --model "$base" --data "$out/train.jsonl.gz" --valid "$out/test.jsonl" --eval-on-start \
  --out "$out/expert" --samples 0

say 5 "answers of the base (its best prompt) and of the expert"
answer() {
  "$bin/expert-cli" generate --model "$base" --manifest "$expert/manifest.json" --greedy --max-new-tokens 80 "$@"
}
answer --adapter none --grammar none --validation none --input "$out/native.jsonl" --output "$out/base.answers.jsonl"
answer --adapter "$out/expert" --input "$out/test.jsonl" --output "$out/expert.answers.jsonl"

say 6 "what they are worth"
judge() {
  name=$1
  shift
  "$bin/expert-cli" eval --manifest "$expert/manifest.json" --input "$out/$name.answers.jsonl" --group group \
    --output "$out/$name.judged.jsonl" --json "$@" >"$out/$name.eval.json" 2>/dev/null
}
judge base --prefix SELECT  # its prompt ends with the first word of a statement
judge expert
"$bin/expert-cli" report "$out/expert" --eval "base=$out/base.eval.json" --eval "expert=$out/expert.eval.json" \
  --answers "base=$out/base.judged.jsonl" --answers "expert=$out/expert.judged.jsonl"
# The log's first evaluation is before the first step: with B = 0 the adapter adds nothing yet, so that is the base's.
loss() { grep -o '"eval_loss":[0-9.e+-]*' "$out/expert/metrics.jsonl" | "$@" | cut -d: -f2 | cut -c1-6; }
python3 "$expert/compare.py" "base=$out/base.eval.json" "expert=$out/expert.eval.json" \
  --answers "base=$out/base.judged.jsonl" "expert=$out/expert.judged.jsonl" \
  --loss "base=$(loss head -n 1)" "expert=$(loss tail -n 1)"

cat <<END

adapter   $out/expert (PEFT's files: adapter_config.json, adapter_model.safetensors)
report    $out/expert/report.html

The same expert on a real Qwen3-0.6B: build with -DEXPERT_BUILD_ALL_EXPERTS=ON, then
  expert-sql-train --model /path/to/Qwen3-0.6B --data rows.jsonl --out runs/sql
quickstart.sh: done in $((SECONDS - started)) s.
END
