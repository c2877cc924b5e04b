"""`fanfare verify`: timelines as readers get them, against the SQL that defines them."""

from __future__ import annotations

import click
import grpc
import psycopg
from confluent_kafka import KafkaException
from redis.exceptions import RedisError
from rich.console import Console

from core.settings import load_settings
from ops.verify import VerifyError, verify


@click.command()
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many readers, at random.",
)
@click.option("--seed", type=int, help="Choose the same readers again.")
def command(sample: int, seed: int | None) -> None:
    """Compare readers' timelines, page by page to the oldest tweet, with the SQL oracle.

    Each is read three times: as found, cold (after it was removed from Redis), and warm.
    """
    try:
        outcomes = verify(load_settings(), sample, seed, Console())
    except VerifyError as error:
        raise click.ClickException(str(error)) from error
    except (psycopg.Error, KafkaException, RedisError, grpc.RpcError) as error:
        raise click.ClickException(f"a part of the system does not answer: {error}") from error
    if any(outcome.differing for outcome in outcomes):
        raise click.ClickException("timelines differ from the oracle")
