"""Position schemes behind one interface (base.py), by family."""

from models.position.absolute import Learned, Sinusoidal
from models.position.base import Anywhere, Look, Position, Scheme, Size
from models.position.content import CoPE, FoX
from models.position.decay import ALiBi, NoPE, slopes
from models.position.kernels import FIRE, GGD, KERPLE, HardALiBi, Sandwich, Window
from models.position.offset import RoPE, XPos
from models.position.power import PowerLaw
from models.position.rescaled import NTK, Interpolated, Randomised, YaRN
from models.position.table import T5, FreeTable

__all__ = [
    "ALiBi", "Anywhere", "CoPE", "FIRE", "FoX", "FreeTable", "GGD", "HardALiBi", "Interpolated", "KERPLE", "Learned",
    "Look", "NTK", "NoPE", "Position", "PowerLaw", "Randomised", "RoPE", "Sandwich", "Scheme", "Sinusoidal", "Size",
    "T5", "Window", "XPos", "YaRN", "slopes",
]  # fmt: skip
