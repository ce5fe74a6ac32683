"""A fast fake training: write the metrics file of a run epoch by epoch; wait or fail if asked to.

python stub.py --x=0.3 --epochs=4 [--wait=0.05] [--fail=word] --runs FOLDER --name NAME
"""

import signal
import sys
import time
from pathlib import Path


def main(words):
    given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    folder = Path(words[words.index("--runs") + 1], words[words.index("--name") + 1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = folder / "logs/version_0/metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,step,train/loss,val/rmse\n")
    for epoch in range(int(given.get("epochs", 3))):
        time.sleep(float(given.get("wait", 0)))
        if given.get("fail") == "yes":
            sys.exit("echo-e3net: error: CUDA out of memory")
        with path.open("a") as file:
            file.write(f"{epoch},{epoch},0.5,\n{epoch},{epoch},,{float(given['x']) + 1 / (epoch + 1)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
