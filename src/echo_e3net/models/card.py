"""The card of an exported model: README.md with the front matter of Hugging Face."""

from __future__ import annotations

from echo_e3net.models.description import SYNTHETIC, Description

TEMPLATE = """\
---
library_name: echo-e3net
tags:
- echocardiography
- ejection-fraction
- video
---

# Echo-E³Net

Predicts left-ventricular ejection fraction (EF) from an apical four-chamber echocardiography video.
**Research only. Not a medical device.**{note}

## Use
```sh
pip install echo-e3net
echo-e3net predict clip.dcm --model THIS_FOLDER
```

```python
import echo_e3net

reading = echo_e3net.load("THIS_FOLDER").read("clip.dcm")
print(reading.ef_percent, reading.beats)
```

To fine-tune it, with `FOLDER` in the format of EchoNet-Dynamic:

```sh
echo-e3net fit --config e3net.yaml --config THIS_FOLDER/network.yaml --config overlays/finetune.yaml \
  --init_from THIS_FOLDER --data.root FOLDER
```

## Input
Clips of {frames} grey frames of {size}×{size} pixels, one every {step}. echo-e3net crops, samples and resizes videos to
this format.
Borders: {borders}.

## Training
{videos} videos (fingerprint of their names and labels: `{fingerprint}`), mean EF {ef:.1f} %,
grey values {mean:.1f} ± {sd:.1f} (mean ± SD). Written by echo-e3net {program}.

## Scores
{scores}

Before you publish this model, name the training data set here and add a licence.
"""


def card(description: Description) -> str:
    """Return the card of a model."""
    clip = description.clip
    frames = f"{clip.period} frames" if clip.fps is None else f"{1000 * clip.period / clip.fps:.0f} ms"
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(description.scores.items()) if "/loss/" not in name]
    scores = "\n".join(["| score | value |", "|---|---|", *rows]) if rows else "No scores were recorded."
    return TEMPLATE.format(
        note=f" **{SYNTHETIC}**" if description.synthetic else "",
        frames=clip.frames,
        size=clip.size,
        step=frames,
        borders=", ".join({"endo": "endocardium", "epi": "epicardium"}[b] for b in description.borders) or "none",
        videos=description.videos,
        fingerprint=description.fingerprint,
        ef=100 * description.ef_mean,
        mean=description.grey[0],
        sd=description.grey[1],
        program=description.program,
        scores=scores,
    )
