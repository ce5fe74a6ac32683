"""Formats of data sets, one module per format. Each reads a folder into a :class:`echo_e3net.data.records.DataSet`."""

from echo_e3net.data.formats.camus import Camus
from echo_e3net.data.formats.echonet_dynamic import EchoNetDynamic
from echo_e3net.data.formats.echonet_pediatric import EchoNetPediatric

__all__ = ["Camus", "EchoNetDynamic", "EchoNetPediatric"]
