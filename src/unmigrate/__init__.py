"""The way back for Prisma migrations on PostgreSQL."""

__version__ = "0.1.0"
