"""`python -m chaos [--seed N] [--seeds K] [--profile short|long]`, with tests/ on the path: what `make chaos` runs."""

import argparse
import logging
import secrets
import statistics
import sys

from chaos.flood import flood
from chaos.fuzz import fuzz
from chaos.plan import FAULTS, PROFILES
from chaos.run import Outcome, run_seed
from chaos.stage import CLOCK, Stage, running_stage
from chaos.worker import BROKEN

FLOOD_RATIO = 1.10


def main(argv: list[str]) -> int:
    """Run seeds and say what became of each; 1 when one does not hold, or a broken guard goes unnoticed."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run; a fresh one by default")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="short", help="how much of it")
    parser.add_argument("--broken", choices=sorted(BROKEN), default="whole", help="the guard that the workers lack")
    parser.add_argument("what", nargs="?", choices=("faults", "fuzz", "flood"), default="faults")
    parser.add_argument("--messages", type=int, default=1_000_000, help="of the fuzz")
    asked = parser.parse_args(argv)
    first = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    if asked.what == "fuzz":
        return _fuzz(asked.messages, first)
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)  # the stack of every refused connection
    outcomes = []
    with running_stage() as stage:
        if asked.what == "flood":
            return _flood(stage)
        for seed in range(first, first + asked.seeds):
            _say(f"seed {seed}")
            outcomes.append(run_seed(stage, seed, PROFILES[asked.profile], _say, broken=asked.broken))
            _tell(outcomes[-1])
    _sum(outcomes)
    held = all(outcome.holds for outcome in outcomes)
    return int(held == (asked.broken != "whole"))


def _fuzz(messages: int, seed: int) -> int:
    begun_ns = CLOCK.mono_ns()
    _say(f"fuzz: seed {seed}")
    account = fuzz(messages, seed, _say)
    seconds, refused = (CLOCK.mono_ns() - begun_ns) / 1e9, dict(sorted(account.refused.items()))
    _say(
        f"{account.messages} messages in {seconds:.0f} s: {account.whole} stored, {account.in_part} in part, {refused}"
    )
    _say(f"slowest flush {account.slowest_s * 1000:.0f} ms, memory grew by {account.growth_bytes >> 20} MiB")
    _say("every one accounted for" if account.holds else "NOT HELD")
    return int(not account.holds)


def _flood(stage: Stage) -> int:
    found = flood(stage)
    quiet_s, flooded_s = statistics.median(found.quiet_s), statistics.median(found.flooded_s)
    _say(f"acknowledged to readable, median of rounds: quiet {quiet_s:.2f} s, in the flood {flooded_s:.2f} s")
    _say(f"{found.flood_messages} messages of one probe; ratio {found.ratio:.2f}, wanted at most {FLOOD_RATIO}")
    return int(found.ratio > FLOOD_RATIO)


def _tell(outcome: Outcome) -> None:
    verdict = outcome.verdict
    if verdict is None:
        _say(f"seed {outcome.seed}: NOT ALL STORED: {outcome.text}")
        return
    counts = f"{verdict.messages} messages, {verdict.summaries} summaries, {verdict.windows} windows"
    beside = f"{outcome.restarts} restarts of a worker, {outcome.repeats} repeats, {outcome.seconds:.0f} s"
    beside += f" (drained in {outcome.drained_s:.0f}, judged in {outcome.judged_s:.0f})"
    _say(f"seed {outcome.seed}: {'equal to the oracle' if verdict.holds else 'WRONG'}: {counts}; {beside}")
    if not verdict.holds:
        _say(f"  lost {len(verdict.lost)}: {verdict.lost[:3]}, doubled {len(verdict.doubled)}: {verdict.doubled[:3]}")
        _say(f"  poison not kept {verdict.unkept_poison}")
        _say(f"  in quarantine for nothing {verdict.unasked_quarantine}")
        _say(f"  wrong windows {verdict.wrong_windows}; the first: {verdict.first_wrong}")


def _sum(outcomes: list[Outcome]) -> None:
    done = [fault.kind for outcome in outcomes for fault in outcome.faults]
    for kind, ids in FAULTS.items():
        _say(f"{kind} ({ids}): {done.count(kind)}")
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict is not None]
    totals = f"{sum(each.summaries for each in verdicts)} summaries, {sum(each.windows for each in verdicts)} windows"
    wrong = [outcome.seed for outcome in outcomes if not outcome.holds]
    _say(f"{len(outcomes)} seeds: {totals}, {sum(outcome.seconds for outcome in outcomes):.0f} s, not held: {wrong}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
