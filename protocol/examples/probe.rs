use protocol::placement::*; use protocol::topology::*; use protocol::*;
use std::time::Instant;
fn peers(seed: u64, n: usize, zones: usize, spread: u64) -> Vec<TopologyPeer> {
    let mut prng = Prng::new(seed);
    (0..n).map(|i| { let mut key=[0;32]; for c in key.chunks_exact_mut(8) { c.copy_from_slice(&prng.next_u64().to_be_bytes()); }
      TopologyPeer { id: PeerId::from_public_key(key), zone: Zone::new(&format!("z{}", i%zones)).unwrap(), capacity_bytes: (1 + (if spread==1 {0} else {prng.below(spread)})) << 40 } }).collect()
}
fn full(p:&Placement)->(f64,f64){ let mut m=0f64; let mut lo=9f64; for l in p.loads(){ let r=l.copies as f64*65536.0/l.fair_copies_q16 as f64; if r>m {m=r}; if r<lo {lo=r} } (m,lo) }
fn held(p:&Placement,id:PeerId)->f64{ p.loads().iter().find(|l|l.peer==id).map_or(0.0,|l|l.copies as f64) }
fn fair(p:&Placement,id:PeerId)->f64{ p.loads().iter().find(|l|l.peer==id).map_or(0.0,|l|l.fair_copies_q16 as f64/65536.0) }
fn main(){
  let sizes: Vec<usize> = std::env::args().nth(1).unwrap().split(',').map(|x|x.parse().unwrap()).collect();
  let seeds: u64 = std::env::args().nth(2).map_or(1,|x|x.parse().unwrap());
  for n in sizes { for spread in [1,8] { for zones in [1,5] {
    let t=|l:Vec<TopologyPeer>| Topology::new(Epoch(1), ReplicaCount::new(3).unwrap(), l);
    let (mut mx,mut mj,mut ml,mut jr,mut lr,mut tf,mut ti,mut sj,mut lo)=(0f64,0f64,0f64,0.0,0.0,0.0,0.0,0.0,9f64);
    let (mut jmax,mut lmax)=(0f64,0f64);
    for s in 0..seeds { let all=peers(s*7+n as u64,n+1,zones,spread); let new=all[n].clone();
      let t0=Instant::now(); let p=Placement::new(&t(all[..n].to_vec())); tf+=t0.elapsed().as_secs_f64();
      let (a,b)=full(&p); mx=mx.max(a); lo=lo.min(b);
      let t0=Instant::now(); let j=p.with_peer(Epoch(2),new.clone()); ti+=t0.elapsed().as_secs_f64();
      mj=mj.max(full(&j).0); let r=moved(&p,&j).copies_moved() as f64/fair(&j,new.id); jr+=r; jmax=jmax.max(r);
      if n<=1000 { assert_eq!(moved(&j,&Placement::new(j.topology())).copies_moved(),0);
        let q=Placement::new(&t(all.clone())); sj+=moved(&p,&q).copies_moved() as f64/fair(&q,new.id); }
      let v=all[(s as usize*13+1)%n].id; let t0=Instant::now(); let l=p.without_peer(Epoch(2),v); ti+=t0.elapsed().as_secs_f64();
      if n<=1000 { assert_eq!(moved(&l,&Placement::new(l.topology())).copies_moved(),0);}
      ml=ml.max(full(&l).0); let r=moved(&p,&l).copies_moved() as f64/held(&p,v); lr+=r; lmax=lmax.max(r);
    }
    let k=seeds as f64;
    println!("{n:6} 1:{spread} z{zones} fullest {mx:.4} (least {lo:.3}) after join {mj:.4} leave {ml:.4} | join {:.4} (max {jmax:.3}) leave {:.4} (max {lmax:.3}) stateless join {:.2} | full {:.3}s inc {:.4}s", jr/k, lr/k, sj/k, tf/k, ti/k/2.0);
  }}}
}
