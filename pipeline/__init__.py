"""Raw nlp_chinese_corpus -> documents/ -> masked-LM TFRecords, as Apache Beam runs it."""
