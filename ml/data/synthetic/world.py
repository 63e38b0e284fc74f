"""The world behind the synthetic events: users, items, their hidden groups and tastes; no days, no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.data.synthetic.config import SyntheticConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WORLD_STREAM: Final = 10_000_019
"""Second word of the world's random seed; days use their ordinal (below 3.7 million), chunk and purpose."""

GENDERS: Final = ("female", "male", "undisclosed")
DEVICES: Final = ("android", "ios", "web", "tablet")
CITIES: Final = 40
CATEGORIES_PER_CLUSTER: Final = 3
SHOP_BAIT_SIGNAL: Final = 0.5

ORDINARY, BAIT, DAILY_NEED = 0, 1, 2


@dataclass(frozen=True)
class Users:
    """All users, index = user number: the fields, and what no field shows (`cluster`, effects in logits)."""

    activity: FloatArray  # cumulative share of the impressions, [users]
    age: IntArray
    gender: IntArray  # index into GENDERS
    city: IntArray
    device: IntArray  # index into DEVICES
    cluster: IntArray
    click_effect: FloatArray
    conversion_effect: FloatArray


@dataclass(frozen=True)
class Items:
    """All items, index = item number: the fields, and what no field shows (`cluster`, `role`, effects in logits)."""

    popularity: FloatArray  # cumulative share of the impressions, [items]
    category: IntArray
    shop: IntArray
    brand: IntArray
    price: FloatArray
    cluster: IntArray
    role: IntArray  # ORDINARY, BAIT or DAILY_NEED
    click_effect: FloatArray
    conversion_effect: FloatArray
    drift_phase: FloatArray


@dataclass(frozen=True)
class World:
    """Users, items and the affinities [user_clusters, item_clusters] in logits of their groups."""

    users: Users
    items: Items
    click_affinity: FloatArray
    conversion_affinity: FloatArray


def create_world(config: SyntheticConfig) -> World:
    """The world of a seed: the same for every day, and untouched by volume, times and faults."""
    rng = np.random.default_rng([config.seed, WORLD_STREAM])
    shape = (config.user_clusters, config.item_clusters)
    click = _standardized(rng.normal(size=shape))
    own = rng.normal(size=shape)
    own = _standardized(own - (own * click).mean() * click)  # so that the correlation is what was asked for
    rho = config.affinity_correlation
    conversion = rho * click + np.sqrt(1 - rho**2) * own
    return World(
        users=_create_users(config, rng),
        items=_create_items(config, rng),
        click_affinity=config.affinity_click * click,
        conversion_affinity=config.affinity_conversion * conversion,
    )


def _create_users(config: SyntheticConfig, rng: np.random.Generator) -> Users:
    n, clusters = config.users, config.user_clusters
    cluster = rng.integers(clusters, size=n)
    age_center = rng.uniform(22, 58, size=clusters)
    informed = rng.random(n) < config.field_signal
    age = np.where(informed, rng.normal(age_center[cluster], 4.0), rng.normal(38.0, 13.0, size=n))
    return Users(
        activity=_zipf_cumulative(n, config.user_zipf, rng),
        age=np.clip(np.rint(age), 16, 85).astype(np.int64),
        gender=_noisy_category(cluster, len(GENDERS), config.field_signal, rng),
        city=_noisy_category(cluster, CITIES, config.field_signal, rng),
        device=_noisy_category(cluster, len(DEVICES), config.field_signal, rng),
        cluster=cluster,
        click_effect=rng.normal(0, config.user_effect, size=n),
        conversion_effect=rng.normal(0, config.user_effect, size=n),
    )


def _create_items(config: SyntheticConfig, rng: np.random.Generator) -> Items:
    n, clusters = config.items, config.item_clusters
    cluster = rng.integers(clusters, size=n)
    popularity = _zipf_cumulative(n, config.item_zipf, rng)
    role = _roles(popularity, config)
    home = np.where(rng.random(n) < config.field_signal, cluster, rng.integers(clusters, size=n))
    shop = _shops(role, max(3, n // 20), rng)
    brand = rng.integers(max(2, n // 25), size=n)
    shop_quality = rng.normal(0, config.item_effect, size=int(shop.max()) + 1)
    brand_appeal = rng.normal(0, config.item_effect, size=int(brand.max()) + 1)
    price_level = rng.normal(size=n)
    sign = np.array([0.0, 1.0, -1.0])[role]
    return Items(
        popularity=popularity,
        category=home * CATEGORIES_PER_CLUSTER + rng.integers(CATEGORIES_PER_CLUSTER, size=n),
        shop=shop,
        brand=brand,
        price=np.round(config.price_median * np.exp(config.price_sigma * price_level), 2),
        cluster=cluster,
        role=role,
        click_effect=rng.normal(0, config.item_effect, size=n) + brand_appeal[brand] + config.contradiction * sign,
        conversion_effect=rng.normal(0, config.item_effect, size=n)
        + shop_quality[shop]
        - config.price_effect * price_level
        - config.contradiction * sign,
        drift_phase=rng.uniform(0, 2 * np.pi, size=n),
    )


def _roles(popularity: FloatArray, config: SyntheticConfig) -> IntArray:
    """Roles spread evenly over the popularity ranks, so that bait_share also is about its share of the impressions."""
    share = np.diff(popularity, prepend=0.0)
    rank = np.empty(len(share), dtype=np.int64)
    rank[np.argsort(-share, kind="stable")] = np.arange(len(share))
    place = (0.5 + rank * (np.sqrt(5) - 1) / 2) % 1.0
    role = np.full(len(share), ORDINARY, dtype=np.int64)
    role[place < config.bait_share] = BAIT
    role[place >= 1 - config.daily_need_share] = DAILY_NEED
    return role


def _shops(role: IntArray, shops: int, rng: np.random.Generator) -> IntArray:
    """Each third of the shops prefers one role: the shop tells something of it."""
    specialised = rng.random(len(role)) < SHOP_BAIT_SIGNAL
    number = rng.integers(shops // 3, size=len(role)) * 3 + role
    return np.where(specialised, number, rng.integers(shops, size=len(role)))


def _zipf_cumulative(n: int, exponent: float, rng: np.random.Generator) -> FloatArray:
    """Cumulative Zipf shares, the ranks dealt to the numbers at random: a low id is no sign of popularity."""
    weight = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    cumulative = np.cumsum(rng.permutation(weight))
    return cumulative / cumulative[-1]


def _noisy_category(cluster: IntArray, size: int, signal: float, rng: np.random.Generator) -> IntArray:
    """A value per user: with chance `signal` from the cluster's favourites, else from what is common everywhere."""
    clusters = int(cluster.max()) + 1
    common = 1.0 / np.arange(1, size + 1)
    favourite = rng.integers(size, size=clusters)
    informed = rng.random(len(cluster)) < signal
    at_random = rng.choice(size, size=len(cluster), p=common / common.sum())
    return np.where(informed, favourite[cluster], at_random)


def _standardized(values: FloatArray) -> FloatArray:
    """Mean 0 and standard deviation 1, so that a small matrix of affinities has the strength that was asked for."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
