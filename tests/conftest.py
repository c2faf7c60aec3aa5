"""What all tests share: the Hypothesis profiles. Never a fixture that only one folder needs.

The short profile tries the same examples every time, so that a change is judged and not luck;
`HYPOTHESIS_PROFILE=long make test` searches at random and further, and prints the line that replays what fails.
"""

import os

from hypothesis import HealthCheck, settings

# No deadline: two cores shared with other work make single examples slow, and each test has its own timeout.
settings.register_profile("short", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile(
    "long", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
