"""Makes artifacts: tracer, passes, verification, and the pipeline that joins them."""
