"""Check the videos that a user names for predict."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import ClipSpan
from echo_e3net.data.settings import VideoSource
from echo_e3net.errors import InputError

# Frames per second of most videos of EchoNet-Dynamic.
USUAL_RATES = (35.0, 70.0)


def usable_videos(videos: VideoSource, span: ClipSpan, exclude: bool) -> tuple[list[VideoRecord], list[Finding]]:
    """Return the records of the usable videos and a finding for each other one; log what a user should know.

    Raises:
        InputError: no video is usable, or one is not and ``exclude`` is false.
    """
    records = videos.records()
    findings = [Finding(Defect.NO_CLIP, file.name, str(file), why) for file, why in videos.refused().items()]
    if findings and not (exclude and records):
        more = f" {len(findings) - 1} more cannot be used." if len(findings) > 1 else ""
        advice = " --data.on_defect exclude goes on without them." if records else ""
        raise InputError(f"{findings[0]}{more}{advice}")
    for finding in findings:
        rank_zero_info(f"excluded: {finding}")
    for file, remark in videos.remarks().items():
        rank_zero_info(f"check {file}: frame rate {remark}")
    rates = videos.rates()
    if rates and not USUAL_RATES[0] <= rates[0] <= rates[-1] <= USUAL_RATES[1]:
        shown = " to ".join(dict.fromkeys(f"{rate:.4g}" for rate in (rates[0], rates[-1])))
        spans = " to ".join(dict.fromkeys(f"{span.length / rate:.1f}" for rate in (rates[-1], rates[0])))
        rank_zero_info(
            f"The videos have {shown} frames per second, so a clip spans {spans} s; at the usual 50 frames per second "
            f"it spans {span.length / 50:.1f} s. --data.clip.period changes that."
        )
    return records, findings
