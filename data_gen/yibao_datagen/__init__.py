"""Invented people and their claims, for settling without anybody's data. Seeded: same arguments, same tables."""

from yibao_datagen.city import City, city
from yibao_datagen.dirt import spoil
from yibao_datagen.edges import edges
from yibao_datagen.history import pay

__all__ = ["City", "city", "edges", "pay", "spoil"]
