"""Echo-E³Net: left-ventricular ejection fraction from an echocardiography video."""

__version__ = "0.1.0"
