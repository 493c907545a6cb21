"""Invented people and their claims, for settling without anybody's data. Seeded: same arguments, same table."""

from yibao_datagen.city import city
from yibao_datagen.history import pay

__all__ = ["city", "pay"]
