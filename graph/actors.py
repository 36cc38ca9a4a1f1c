"""Who acts, as logs and jobs name it."""

import strawberry

from db.models.tenancy import ActorType

strawberry.enum(ActorType, description="What kind of actor it is: a person, a key, support by a grant, a vendor, the product.")

__all__ = ["ActorType"]
