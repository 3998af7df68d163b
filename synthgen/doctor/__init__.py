"""What of synthgen runs on this machine, and the one command that mends what does not."""

from synthgen.doctor.diagnose import Diagnosis, diagnose
from synthgen.doctor.page import show_diagnosis, write_diagnosis

__all__ = ["Diagnosis", "diagnose", "show_diagnosis", "write_diagnosis"]
