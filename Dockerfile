# Workers of a cluster: Beam's own worker image and this package, light core only.
#
#   docker build -t REGISTRY/t5s-worker .
#
# The base must have the Beam and Python version of the launcher (see constraints.txt).
FROM apache/beam_python3.11_sdk:2.77.0
WORKDIR /t5s
COPY setup.py pyproject.toml README.md constraints.txt ./
COPY pipeline pipeline
COPY vocab vocab
COPY tfrecords_schema tfrecords_schema
COPY trainer trainer
RUN pip install --no-cache-dir -c constraints.txt .
# Nothing importable may lie where a worker starts.
WORKDIR /
RUN rm -r /t5s
# The entry point is the base's: /opt/apache/beam/boot.
