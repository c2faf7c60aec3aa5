"""Categorias de produtos: the tree that products hang on; it goes both ways between Gestão and Loja."""

from __future__ import annotations

from crdtsync import Entity, Key, Records, Ref, Register, Role, check, invariant


class ProductCategory(
    Entity,
    category="product_categories",
    title="Categorias de produtos",
    writers={Role.GESTAO, Role.LOJA},
    download=1,
    upload=2,
):
    """One category; without a parent it is at the root of the tree."""

    id = Key()
    name = Register(str, max_length=120)
    parent = Ref("self", optional=True)
    active = Register(bool, default=True)

    @check
    def is_not_its_own_parent(self) -> bool:
        """A category cannot be its own parent."""
        return self.parent != self.id

    @invariant("C18", title="Categoria excluída em uso", owner=Role.GESTAO, referred=True)
    def deleted_while_in_use(self, records: Records) -> bool:
        """One side deletes a category while another puts a product or a subcategory in it."""
        return not records.referrers(self)
