//! An answer that comes late is not taken for the answer to what a later process asked.

use std::time::Duration;

use bytes::Bytes;
use node::env::{Env as _, Membership, Net as _, NetEvent};
use node::rpc::{Handler, Rpc, RpcMetrics, dispatch};
use protocol::wire::{Class, Reply, Request};
use protocol::{ClusterId, Fault, Kind, PeerId};
use tokio::sync::mpsc;

use super::world;
use super::{Loss, Machine, SimEnv, World};

/// How long each answer takes.
const ANSWER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers with what was asked, after a while.
#[derive(Clone)]
struct Echo(SimEnv);

impl Handler for Echo {
    fn work(&self, _: PeerId, _: Bytes) {}

    async fn handle(&self, _: PeerId, request: Request) -> Result<Reply, Fault> {
        let Request::Meta { body } = request else {
            return Err(Fault::new(Kind::Internal, "nothing else is asked here"));
        };
        self.0.sleep_until(self.0.now().after(ANSWER)).await;
        Ok(Reply::Meta { body })
    }
}

/// Starts a process that knows the other one, and returns its asking side once it is connected.
async fn boot(machine: &Machine, other: &Machine) -> Rpc<SimEnv> {
    let env = machine.boot();
    let rpc = Rpc::new(env.clone(), RpcMetrics::default());
    let inbox = env.net().take_inbox(Class::Control).unwrap();
    let mut events = env.net().take_events().unwrap();
    let (notices, _unheard) = mpsc::channel(1);
    let echo = Echo(env.clone());
    let task = dispatch(env.clone(), Class::Control, inbox, rpc.clone(), echo, notices);
    env.spawn("rpc.dispatch", task);
    let members = [machine.peer(), other.peer()].into();
    let cluster = ClusterId::from_bytes([7; 16]);
    env.net().set_membership(Some(Membership { cluster, members }));
    env.net().dial(other.peer(), vec![other.address().to_owned()]);
    if other.is_running() {
        while !matches!(events.recv().await, Some(NetEvent::Connected(_))) {}
    }
    rpc
}

async fn ask(rpc: &Rpc<SimEnv>, peer: PeerId, body: &'static [u8]) -> Result<Reply, Fault> {
    let request = Request::Meta { body: Bytes::from_static(body) };
    rpc.call(peer, Class::Control, request, PATIENCE).await
}

async fn asks_twice(world: World) {
    let (asking, answering) = (Machine::new(&world, 0), Machine::new(&world, 1));
    let _answers = boot(&answering, &asking).await;
    let rpc = boot(&asking, &answering).await;
    let peer = answering.peer();
    world.spawn(async move { drop(ask(&rpc, peer, b"before").await) });
    world.clock().sleep(ANSWER / 4).await;
    asking.end(Loss::Process);
    let rpc = boot(&asking, &answering).await;
    let answer = ask(&rpc, peer, b"after").await.unwrap();
    assert_eq!(answer, Reply::Meta { body: Bytes::from_static(b"after") });
}

#[test]
fn an_answer_to_an_earlier_process_is_nobodys() {
    for seed in 1..=3 {
        world::run(seed, false, asks_twice).unwrap();
    }
}
