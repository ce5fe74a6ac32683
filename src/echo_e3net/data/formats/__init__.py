"""Data sets as they lie on the disk, one file a format; each gives :class:`echo_e3net.data.records.Reading`."""

from echo_e3net.data.formats.camus import Camus
from echo_e3net.data.formats.echonet_dynamic import EchoNetDynamic
from echo_e3net.data.formats.echonet_pediatric import EchoNetPediatric

__all__ = ["Camus", "EchoNetDynamic", "EchoNetPediatric"]
