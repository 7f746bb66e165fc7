"""The unit functions: files in, files and a small result out. No Beam.

split       InputFile -> Units                          (packed input only writes chunks)
clean       Unit -> work/: cleaned documents, rejections, keys
copies      range of keys -> which documents are copies
candidates  range of keys -> pairs that may be near-duplicates
verify      pairs of one unit -> pairs that are
near        all such pairs -> which documents go
repeats     range of keys -> which paragraphs are repeated
finish      Unit, what goes of it -> documents/, rejected/
count       part of documents/ -> token counts          (only if a vocabulary is learned)
shard       Shard -> tfrecords/<length>/...             (see instances.py)
"""
