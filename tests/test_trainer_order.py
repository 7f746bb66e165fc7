"""The order of records, against a list of all of them."""

from collections import deque
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.order import GROUP_SHARDS, Group, groups_from, permute_shards

records_of_shards = st.lists(st.integers(1, 6), min_size=3, max_size=40)
copies_records = st.lists(records_of_shards, min_size=1, max_size=3)
seeds = st.integers(0, 3)
SHOWN = 150


def list_plainly(copies, seed, host, hosts):
    """Yields (epoch, shard, record), one after the other, without end."""
    epoch = 0
    while True:
        records = copies[epoch % len(copies)]
        shards = permute_shards(len(records), seed, epoch)[host::hosts]
        while shards:
            group, shards = shards[:16], shards[16:]
            queues = [deque((epoch, shard, n) for n in range(records[shard])) for shard in group]
            while any(queues):
                for queue in queues:
                    if queue:
                        yield queue.popleft()
        epoch += 1


def read_groups(copies, groups):
    """Yields the same of groups, read round-robin."""
    for group in groups:
        records = copies[group.epoch % len(copies)]
        left = [
            deque((group.epoch, shard, n) for n in range(skipped, records[shard]))
            for shard, skipped in zip(group.shards, group.skipped, strict=True)
        ]
        assert all(left)
        while any(left):
            for queue in left:
                if queue:
                    yield queue.popleft()


@given(copies_records, seeds, st.integers(0, 1000), st.integers(1, 3), st.data())
def test_groups_from_any_position_go_on_as_the_plain_list_does(copies, seed, position, hosts, data):
    host = data.draw(st.integers(0, hosts - 1))
    plain = islice(list_plainly(copies, seed, host, hosts), position, position + SHOWN)
    found = read_groups(copies, groups_from(copies, seed, position, host, hosts))
    assert list(islice(found, SHOWN)) == list(plain)


@given(copies_records, seeds, st.integers(0, 5), st.integers(1, 3))
def test_hosts_together_read_every_record_of_an_epoch_once(copies, seed, epoch, hosts):
    read = []
    for host in range(hosts):
        for instance in list_of_epoch(copies, seed, epoch, host, hosts):
            read.append(instance)
    records = copies[epoch % len(copies)]
    assert sorted(read) == [(epoch, s, n) for s in range(len(records)) for n in range(records[s])]


def list_of_epoch(copies, seed, epoch, host, hosts):
    for instance in read_groups(copies, groups_from(copies, seed, 0, host, hosts)):
        if instance[0] > epoch:
            return
        if instance[0] == epoch:
            yield instance


def test_groups_have_sixteen_shards_of_one_epoch():
    copies = [[2] * 40, [3] * 40]
    groups = list(islice(groups_from(copies, 0, 0), 6))
    assert GROUP_SHARDS == 16
    assert [len(group.shards) for group in groups] == [16, 16, 8] * 2
    assert [group.epoch for group in groups] == [0] * 3 + [1] * 3
    assert {skipped for group in groups for skipped in group.skipped} == {0}


def test_position_inside_a_group_skips_records_and_drops_shards_that_ended():
    shards = permute_shards(3, 0, 0)
    records = [0, 0, 0]
    records[shards[0]], records[shards[1]], records[shards[2]] = 1, 4, 3
    # a b c, b c, b c, b: after 4 records, "c" is next, of which 1 was read, and of "b" 2.
    assert next(groups_from([records], 0, 4)) == Group(0, (shards[2], shards[1]), (1, 2))


def test_far_position_is_found_at_once():
    copies = [[7] * 30, [5] * 30]
    epochs, rest = 2 * 10**15, 211
    position = epochs // 2 * (210 + 150) + rest
    assert next(groups_from(copies, 0, position)).epoch == epochs + 1
    near = next(groups_from(copies, 0, rest))
    assert near.epoch == 1 and near.skipped == (0,) * 15 + (1,)


def test_permute_shards_gives_the_same_on_every_machine_and_another_order_in_every_epoch():
    assert permute_shards(10, seed=0, epoch=0) == [6, 8, 3, 4, 9, 2, 5, 7, 0, 1]
    orders = {tuple(permute_shards(10, seed, epoch)) for seed in range(5) for epoch in range(20)}
    assert len(orders) == 100
    assert all(sorted(order) == list(range(10)) for order in orders)


def test_every_shard_comes_first_about_equally_often():
    # 6,000 epochs: each of 6 shards leads 1,000 times, with a standard deviation of 29.
    leaders = [permute_shards(6, 0, epoch)[0] for epoch in range(6_000)]
    assert all(abs(leaders.count(shard) - 1_000) < 150 for shard in range(6))


def test_more_hosts_than_shards_are_refused():
    with pytest.raises(ValueError, match="3 training shards cannot be shared by 4 hosts; use"):
        groups_from([[5, 5, 5, 5], [5, 5, 5]], 0, 0, host=0, hosts=4)
