"""Categorias de produtos: the tree that products hang on; it goes both ways between Gestão and Loja."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Self

from crdtsync import (
    Broken,
    Case,
    Entity,
    Fine,
    Key,
    Records,
    Ref,
    Register,
    Role,
    Severity,
    Verdict,
    check,
    concurrent_edits,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED_MAX = 5


def folded(name: str) -> str:
    """Return a name without what does not tell two apart: spaces at the ends, doubled spaces, case, accents."""
    bare = (c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return " ".join("".join(bare).split())


def _place(category: ProductCategory) -> str | None:
    """Name and parent of a category in use: what C20 compares."""
    if category.deleted or not category.active:
        return None
    return f"{category.parent or ''}|{folded(category.name)}"


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

    edited_once = concurrent_edits(
        "C25",
        title="Mesmo campo da categoria editado nos dois lados",
        owner=Role.GESTAO,
        severity=Severity.M,
        effect="Vale a última edição; a outra se perde.",
    )

    @check
    def is_not_its_own_parent(self) -> bool:
        """A category cannot be its own parent."""
        return self.parent != self.id

    @invariant(
        "C18",
        title="Categoria excluída em uso",
        owner=Role.GESTAO,
        severity=Severity.A,
        effect="Os produtos e subcategorias continuam ligados a uma categoria que não aparece mais em nenhuma lista.",
        referred=True,
    )
    def deleted_while_in_use(self, records: Records) -> Verdict:
        """Um lado excluiu a categoria enquanto o outro punha nela um produto ou uma subcategoria."""
        users = records.referrers(self)
        if not users:
            return True
        named = ", ".join(getattr(user, "name", user.key) for user in users[:_NAMED_MAX])
        more = f" e mais {len(users) - _NAMED_MAX}" if len(users) > _NAMED_MAX else ""
        return Broken(
            f"A categoria “{self.name}” foi excluída e ainda é usada por {named}{more}.",
            records=users,
            facts={
                "categoria": self.key,
                "em_uso_por": [f"{user.__category__}/{user.key}" for user in users],
            },
        )

    @option("C18", "restaurar", "Restaurar a categoria", settles=False)
    async def bring_back(self, _case: Case) -> None:
        """A categoria volta como era."""
        self.restore()

    @option("C18", "mover", "Mover para a categoria mãe", by={Role.GESTAO}, settles=False)
    async def move_up(self, case: Case) -> None:
        """O que estava nela passa para a mãe, ou para a primeira acima que não foi excluída."""
        seen, parent = {self.key}, self.parent
        above: ProductCategory | None = None
        while parent is not None and parent not in seen:
            seen.add(parent)
            above = await case.tx.find(ProductCategory, parent)
            parent = above.parent if above is not None and above.deleted else None
        await case.tx.repoint(self, above if above is not None and not above.deleted else None)

    @option("C18", "sem_categoria", "Deixar sem categoria", by={Role.GESTAO}, settles=False)
    async def leave_bare(self, case: Case) -> None:
        """Os produtos ficam sem categoria e as subcategorias, na raiz."""
        await case.tx.repoint(self, None)

    @option("C18", "inativar", "Manter inativa, com o que está nela", by={Role.GESTAO}, settles=False)
    async def keep_inactive(self, case: Case) -> None:
        """A categoria volta inativa, e ficam inativos os produtos e subcategorias que a usam."""
        self.restore()
        self.active = False
        for user in await case.tx.referrers(self):
            if "active" in user.__shape__.fields:
                setattr(user, "active", False)  # noqa: B010 - the field is there only in some categories

    @invariant(
        "C19",
        title="Ciclo na árvore de categorias",
        owner=Role.GESTAO,
        severity=Severity.A,
        effect="Essas categorias e os produtos delas não aparecem na árvore, porque nenhuma chega à raiz.",
        watch=("parent",),
    )
    def reaches_the_root(self, records: Records) -> Verdict:
        """Cada lado pôs uma categoria dentro da outra."""
        path: list[ProductCategory] = [self]
        while (above := path[-1].parent) is not None and above not in {one.key for one in path}:
            found = records.get(ProductCategory, above)
            if found is None or found.deleted:
                return True
            path.append(found)
        if above is None:
            return True
        cycle = path[next(at for at, one in enumerate(path) if one.key == above) :]
        first = min(cycle, key=lambda one: one.key)
        if first.key != self.key:
            # One pendency for the whole cycle, at its smallest id; whoever closed it is seldom that one.
            return Fine(look=(first,))
        names = " → ".join(f"“{one.name}”" for one in (*cycle, cycle[0]))
        return Broken(
            f"As categorias estão em círculo: {names}. O primeiro é “{self.name}” dentro de “{cycle[1].name}”; "
            f"o segundo, “{cycle[1].name}” dentro de “{cycle[2 % len(cycle)].name}”.",
            records=cycle[1:],
            facts={"ciclo": [one.key for one in cycle]},
        )

    @option("C19", "primeiro", "Valer o primeiro; a outra vai para a raiz", settles=False)
    async def first_stands(self, case: Case) -> None:
        """A primeira categoria fica dentro da segunda, e a segunda vai para a raiz."""
        (await case.tx.get(ProductCategory, case.facts["ciclo"][1])).parent = None

    @option("C19", "segundo", "Valer o segundo; a primeira vai para a raiz", settles=False)
    async def second_stands(self, _case: Case) -> None:
        """A segunda categoria fica onde está, e a primeira vai para a raiz."""
        self.parent = None

    @option("C19", "raiz", "Ambas na raiz", settles=False)
    async def both_to_the_root(self, case: Case) -> None:
        """As duas categorias vão para a raiz."""
        self.parent = None
        (await case.tx.get(ProductCategory, case.facts["ciclo"][1])).parent = None

    @invariant(
        "C20",
        title="Categoria de mesmo nome e mesma mãe",
        owner=Role.GESTAO,
        severity=Severity.M,
        effect="Ficam as duas, e os produtos se dividem entre elas nos relatórios.",
        group=_place,
        several=True,
    )
    def name_is_unique_under_its_parent(self, others: Sequence[Self]) -> Verdict:
        """Os dois lados criaram, cada um, a mesma categoria."""
        ids = [one.key for one in (self, *others)]
        return Broken(
            f"{len(ids)} categorias se chamam “{self.name}” no mesmo lugar da árvore: {', '.join(ids)}.",
            records=others,
            facts={"categorias": ids},
        )

    @option("C20", "unificar", "Unificar na primeira", by={Role.GESTAO}, settles=False)
    async def unify(self, case: Case) -> None:
        """O que está nas outras passa para a primeira, e as outras são excluídas."""
        for other in case.records[1:]:
            await case.tx.repoint(other, self)
            other.delete()

    @option("C20", "renomear", "Renomear a segunda", asks=("nome",), settles=False)
    async def rename(self, case: Case) -> None:
        """A segunda categoria ganha outro nome."""
        other = await case.tx.get(ProductCategory, case.facts["categorias"][1])
        other.name = case.values["nome"].strip()

    @option("C20", "manter", "Manter as duas")
    async def keep_both(self, _case: Case) -> None:
        """São categorias diferentes com o mesmo nome."""
