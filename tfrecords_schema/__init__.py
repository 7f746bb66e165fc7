"""The contract between the pipeline, which writes masked-LM TFRecords, and the trainer."""
