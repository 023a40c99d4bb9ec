"""Before NumPy and torch are imported: one thread, since the tests' matrices are small and waiting threads burn time."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
