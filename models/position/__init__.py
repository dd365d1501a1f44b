"""Position schemes behind one interface (base.py), by family."""

from models.position.absolute import Learned, Sinusoidal
from models.position.base import Look, Position, Scheme, Size
from models.position.decay import ALiBi, NoPE, slopes
from models.position.offset import RoPE

__all__ = ["ALiBi", "Learned", "Look", "NoPE", "Position", "RoPE", "Scheme", "Sinusoidal", "Size", "slopes"]
