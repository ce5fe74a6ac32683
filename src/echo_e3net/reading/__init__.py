"""Read EF from whole videos with a trained network: windows, beats, pictures."""
