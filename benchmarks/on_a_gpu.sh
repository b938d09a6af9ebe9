#!/usr/bin/env bash
# Every benchmark that wants a GPU, at real size with random weights:
#   benchmarks/on_a_gpu.sh OUT              all of them, some twenty minutes
#   benchmarks/on_a_gpu.sh OUT edit judge   some of them
# Writes OUT/NAME.json and OUT/NAME.md. Only `train` needs Ray; nothing needs a network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?the folder where the figures go}
shift
mkdir -p "$out"
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"

measure() { # NAME SCRIPT OPTIONS...
  echo "== $1"
  python "$here/$2" "${@:3}" --out "$out/$1.json" | tee "$out/$1.md"
}

sd15=(edit_throughput.py --model random:sd15 --size 512 --steps 50)
edit() {
  for method in img2img instruct_pix2pix controlnet; do
    measure "edit_$method" "${sd15[@]}" --method "$method" --batches 1 4 16 32 64
  done
}
shapes() { measure shapes edit_shapes.py --model random:sd15 --size 512 --steps 50 --batch 32 --images 128; }
compile() { measure edit_compiled "${sd15[@]}" --method img2img --batches 32 --compile; }
few_steps() { measure edit_dpm "${sd15[@]}" --method img2img --batches 32 --scheduler dpm++ --steps 25; }
caption() { measure caption caption_throughput.py --model random:blip-large --size 640 --batches 1 4 16 64; }
judge() {
  measure judge judge_throughput.py --clip random:ViT-L-14 --classifier resnet50 --classes 200 --seen 224 \
    --size 512 --batches 1 8 32 128
}
train() { measure train train_throughput.py --architecture resnet50 --size 224 --batch 128 --images 4096; }

for part in "${@:-edit shapes compile few_steps caption judge train}"; do
  for each in $part; do "$each"; done
done
