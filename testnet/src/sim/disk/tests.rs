//! What a process may rely on, and what it may not, over the whole simulated disk.

use bytes::Bytes;
use node::env::{Batch, Disk as _, DiskError, DiskFile as _, Durability, Env as _, Map};

use crate::sim::{DiskHabits, Loss, Machine, World, run};

fn batch(key: u8, bytes: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put(Map::Small, vec![key], vec![key; bytes]);
    batch
}

/// Runs `body` on one machine of a world of `seed`.
fn on_machine<T>(seed: u64, body: impl AsyncFnOnce(World, Machine) -> T) -> T {
    run(seed, false, async |world| {
        let machine = Machine::new(&world, 0);
        let result = body(world.clone(), machine).await;
        assert_eq!(world.failures(), Vec::<String>::new());
        result
    })
    .unwrap()
}

#[test]
fn what_was_synced_survives_a_power_cut_and_the_old_handles_are_closed() {
    for seed in 0..50 {
        on_machine(seed, async |_, machine| {
            // Given synced and unsynced bytes and batches.
            let disk = machine.boot().disk().clone();
            let file = disk.open("segment", true).await.unwrap();
            file.write_at(0, vec![Bytes::from_static(b"syn"), Bytes::from_static(b"ced")])
                .await
                .unwrap();
            file.sync().await.unwrap();
            file.write_at(6, vec![Bytes::from_static(b"lost")]).await.unwrap();
            disk.write(batch(1, 10), Durability::Buffered).await.unwrap();
            disk.write(batch(2, 10), Durability::Synced).await.unwrap();
            disk.write(batch(3, 10), Durability::Buffered).await.unwrap();

            machine.end(Loss::Power);

            assert!(matches!(file.read_at(0, 1).await, Err(DiskError::Closed)));
            assert!(matches!(disk.get(Map::Small, Bytes::new()).await, Err(DiskError::Closed)));
            let disk = machine.boot().disk().clone();
            let file = disk.open("segment", false).await.unwrap();
            assert!(file.read_at(0, 100).await.unwrap().starts_with(b"synced"));
            for key in [1, 2] {
                assert!(disk.get(Map::Small, vec![key].into()).await.unwrap().is_some());
            }
        });
    }
}

#[test]
fn a_killed_process_leaves_its_writes_in_the_cache_where_a_later_power_cut_can_take_them() {
    let mut lost = 0;
    for seed in 0..50 {
        lost += on_machine(seed, async |_, machine| {
            let file = machine.boot().disk().open("segment", true).await.unwrap();
            file.write_at(0, vec![Bytes::from_static(b"cached")]).await.unwrap();

            machine.end(Loss::Process);
            let file = machine.boot().disk().open("segment", false).await.unwrap();
            assert_eq!(file.read_at(0, 100).await.unwrap(), "cached");

            machine.end(Loss::Power);
            let file = machine.boot().disk().open("segment", false).await.unwrap();
            u32::from(file.read_at(0, 100).await.unwrap() != "cached")
        });
    }
    assert!(lost > 10, "the cache is never lost");
}

#[test]
fn a_full_disk_refuses_and_may_keep_the_beginning_of_a_write() {
    on_machine(1, async |_, machine| {
        machine.device().set_capacity(100);
        let disk = machine.boot().disk().clone();
        disk.write(batch(1, 49), Durability::Synced).await.unwrap();
        let file = disk.open("segment", true).await.unwrap();
        let written = file.write_at(0, vec![Bytes::from(vec![7; 60])]).await;
        assert!(matches!(written, Err(DiskError::Full)));
        assert_eq!(file.len().await.unwrap(), 50);
        assert_eq!(disk.space().await.unwrap().free_bytes, 0);
        let batch = disk.write(batch(2, 1), Durability::Synced).await;
        assert!(matches!(batch, Err(DiskError::Full)));
        // Then space that is freed is used again.
        disk.remove("segment").await.unwrap();
        assert_eq!(file.read_at(0, 2).await.unwrap(), Bytes::from_static(&[7, 7]));
        assert_eq!(disk.space().await.unwrap().free_bytes, 50);
    });
}

#[test]
fn after_a_failed_sync_nothing_works_until_the_process_is_started_again() {
    on_machine(1, async |_, machine| {
        let disk = machine.boot().disk().clone();
        let file = disk.open("segment", true).await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"doubt")]).await.unwrap();
        let failing = DiskHabits { sync_failures: 1_000_000, ..DiskHabits::default() };
        machine.device().set_habits(failing);
        assert!(matches!(file.sync().await, Err(DiskError::Failed { .. })));
        machine.device().set_habits(DiskHabits::default());
        assert!(matches!(file.sync().await, Err(DiskError::Failed { .. })));
        assert!(matches!(file.read_at(0, 9).await, Err(DiskError::Failed { .. })));

        machine.end(Loss::Power);

        let file = machine.boot().disk().open("segment", false).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 0, "a failed sync must not have synced");
    });
}

#[test]
fn a_batch_is_written_even_if_the_caller_stops_waiting() {
    on_machine(1, async |world, machine| {
        let env = machine.boot();
        let mut write = Box::pin(env.disk().write(batch(1, 1), Durability::Synced));
        assert!(futures::poll!(&mut write).is_pending());
        drop(write);
        world.clock().sleep(std::time::Duration::from_secs(1)).await;
        assert!(env.disk().get(Map::Small, vec![1].into()).await.unwrap().is_some());
    });
}

#[test]
fn scans_are_ordered_and_bounded_and_a_slow_disk_is_slow() {
    on_machine(1, async |world, machine| {
        let disk = machine.boot().disk().clone();
        for key in [3, 1, 2, 9] {
            disk.write(batch(key, 1), Durability::Buffered).await.unwrap();
        }
        let keys = async |from: u8, until: Option<u8>, limit| -> Vec<u8> {
            let until = until.map(|key| Bytes::from(vec![key]));
            let found = disk.scan(Map::Small, vec![from].into(), until, limit).await.unwrap();
            found.iter().map(|(key, _)| key[0]).collect()
        };
        assert_eq!(keys(0, None, 10).await, [1, 2, 3, 9]);
        assert_eq!(keys(2, Some(9), 10).await, [2, 3]);
        assert_eq!(keys(0, None, 2).await, [1, 2]);

        machine.device().set_habits(DiskHabits { slowness: 100, ..DiskHabits::default() });
        let before = world.clock().nanos();
        disk.get(Map::Small, Bytes::new()).await.unwrap();
        assert!(world.clock().nanos() - before >= 5_000_000);
    });
}

#[test]
fn rot_hits_a_synced_byte_of_a_file() {
    on_machine(1, async |_, machine| {
        assert_eq!(machine.device().rot(), None);
        let file = machine.boot().disk().open("segment", true).await.unwrap();
        file.write_at(0, vec![Bytes::from(vec![0; 64])]).await.unwrap();
        file.sync().await.unwrap();
        assert!(machine.device().rot().unwrap().starts_with("segment:"));
        let read = file.read_at(0, 64).await.unwrap();
        assert_eq!(read.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    });
}
