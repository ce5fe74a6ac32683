"""Save, load and run trained networks: checkpoints, exported folders and ONNX files."""
