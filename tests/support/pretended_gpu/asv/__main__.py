print("adam_step.AdamStep.track_call  torch@cuda  float32  12.3±0.1μs")
