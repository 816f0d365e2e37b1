"""What every test shares: one thread a process (several run side by side), and Hypothesis without deadlines."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Programs that tests start find the helpers, too.
os.environ["PYTHONPATH"] = os.path.join(os.path.dirname(__file__), "helpers")

from hypothesis import HealthCheck, settings

# A shared machine stalls at times: a slow example is no failure. Failures are reproduced from the printed blob.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
