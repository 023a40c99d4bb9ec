#!/usr/bin/env bash
# Without torchvision no processor that also knows videos can be made, whatever is given for the processor of videos.
#
# Surprise: `Qwen2VLProcessor(image_processor, tokenizer)`, whose signature says `video_processor=None`, raises an
# AttributeError about VIDEO_PROCESSOR_MAPPING, and so does every object in its place. Even to say that it is of the wrong
# class takes torchvision.
# Why: the class that is wanted is looked up by its name in the tables of all Auto classes; that of videos is a stand-in
# for what torchvision lacks, and the lookup reads an attribute of it.
# What a guess says: None is taken, as the default says; or a TypeError names the class that is wanted, as it does for what
# stands in the place of the image processor.
# Seen 29 November 2026 with transformers 5.23.0, torch 2.13.0 (CPU), Python 3.11, and no torchvision.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 pillow
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > make.py <<'PY'
import sys
from importlib.metadata import version

import transformers as hf
from tokenizers import Tokenizer, models

hf.utils.logging.set_verbosity_error()
words = {"<unk>": 0, "<|image_pad|>": 1, "<|video_pad|>": 2}
tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, "<unk>")), unk_token="<unk>")
images = hf.Qwen2VLImageProcessorPil()
print("transformers", version("transformers"))
tries = {
    "nothing for videos": {},
    "None for videos": {"video_processor": None},
    "a processor of images for videos": {"video_processor": images},
    "a text for images": {"image_processor": "words"},
}
found = {}
for what, given in tries.items():
    try:
        hf.Qwen2VLProcessor(**{"image_processor": images, "tokenizer": tokenizer} | given)
        found[what] = "made"
    except Exception as error:
        found[what] = f"{type(error).__name__}: {error}"
    print(f"{what}: {found[what]}")
told = [found[what] for what in list(tries)[:3]]
sys.exit(any("AttributeError: type object 'VIDEO_PROCESSOR_MAPPING'" not in one for one in told))
PY
venv/bin/python make.py
