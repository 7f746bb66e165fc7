"""Masked-LM TFRecords -> weights of t5s, by bert4keras 0.9.9."""
