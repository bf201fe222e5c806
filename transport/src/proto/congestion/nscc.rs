//! NSCC, network signalled congestion control: a window by queuing delay and ECN marks.
//!
//! After the Ultra Ethernet Specification 1.0 (section 3.6.13, NSCC) and the reference simulator
//! uet-htsim (`uec.cpp`), whose names are kept. Each acknowledgement is one of four cases:
//!
//! | | delay below target | delay at or above target |
//! |---|---|---|
//! | not marked | proportional increase | fair increase |
//! | marked | nothing: another path will do | multiplicative decrease |
//!
//! and **quick adapt** sets the window to what really arrived in the last round trip when the
//! delay says that far too much was sent.
//!
//! Five things are our own. A fabric whose switches do not mark would never decrease, so with
//! [`Marking::Inferred`] a delay at or above the target counts as a mark. The window never closes
//! below [`LEAST_MAX_DATAGRAMS`] datagrams at its upper bound, since on slow fabrics 1.5 times the
//! product of bandwidth and delay is less than what hosts need to keep a link busy. And the
//! specification expects losses to be reported by trimming; here a loss is found by its absence,
//! for which uet-htsim takes the lost bytes off the window, as is done here, but only while the
//! average delay is at or above the target: other losses are not congestion's. And where a target
//! beyond the base round trip is asked for, the upper bound of the window grows with it. The weight
//! of a sample in the average delay is for windows of some fifty packets; smaller ones have larger
//! weights.

use onepath_topology::{Bandwidth, Nanos};

use super::{Acknowledged, CongestionControl, Loss};

/// Rate of the network that the specification's constants were chosen for, bytes a second
/// (100 Gb/s).
const REFERENCE_RATE: f64 = 12.5e9;
/// Its base round trip, ns.
const REFERENCE_RTT: f64 = 12_000.0;
/// `alpha = 4 · MTU · scaling_a · scaling_b / target_qdelay`: proportional increase.
const ALPHA_PACKETS: f64 = 4.0;
/// `fi = 5 · MTU · scaling_a`: fair increase.
const FI_PACKETS: f64 = 5.0;
/// `eta = 0.15 · MTU · scaling_a`: the increase at each adjustment, whatever happens.
const ETA_PACKETS: f64 = 0.15;
/// `fi_scale = 0.25 · scaling_a`: fast increase, share of the acknowledged bytes.
const FAST_INCREASE: f64 = 0.25;
/// Fast increase works below this share of the base round trip (1 µs of 12 µs).
const FAST_INCREASE_DELAY: f64 = 1.0 / 12.0;
/// `gamma`: how much of the excess delay a multiplicative decrease takes away.
const GAMMA: f64 = 0.8;
/// `max_md_jump`: no multiplicative decrease leaves less than this.
const MAX_MD_JUMP: f64 = 0.5;
/// `delay_alpha`: weight of a sample in the average delay, where the largest window has
/// [`REFERENCE_PACKETS`].
const DELAY_ALPHA: f64 = 0.0125;
/// The largest weight.
const MOST_DELAY_ALPHA: f64 = 0.25;
/// Packets of 4 KiB in the largest window of the specification's network.
const REFERENCE_PACKETS: f64 = MAX_WINDOW * REFERENCE_RATE / 1e9 * REFERENCE_RTT / 4096.0;
/// `qa_threshold`, in target delays: delay at which quick adapt acts.
const QA_THRESHOLD: f64 = 4.0;
/// `qa_gate`: quick adapt acts when less than `maxwnd / 2^qa_gate` arrived.
const QA_GATE: f64 = 8.0;
/// `adjust_bytes_threshold`, datagrams: increases are gathered and applied after so many.
const ADJUST_PACKETS: f64 = 8.0;
/// `maxwnd`, in products of bandwidth and base delay.
const MAX_WINDOW: f64 = 1.5;
/// The least upper bound of the window, datagrams (our own).
const LEAST_MAX_DATAGRAMS: f64 = 8.0;
/// Where the average goes for an unmarked sample above the target, in base round trips.
const CALM_DELAY: f64 = 0.25;

/// Where marks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// Switches mark.
    Fabric,
    /// Nobody marks: delay at or above the target counts as a mark.
    Inferred,
}

/// What NSCC has to know of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NsccConfig {
    /// Rate of this host's link.
    pub rate: Bandwidth,
    /// `base_rtt`: round trip without any queue, hosts included. Smaller measurements replace it.
    pub base_rtt: Nanos,
    /// `target_qdelay`; the specification's default without trimming is the base round trip.
    pub target_queue_delay: Option<Nanos>,
    /// Where marks come from.
    pub marking: Marking,
}

/// The state of one connection. Times are ns and sizes bytes, as `f64`.
#[derive(Clone, Debug)]
pub struct Nscc {
    rate: f64,
    mtu: f64,
    marking: Marking,
    base_rtt: f64,
    target: f64,
    alpha: f64,
    fi: f64,
    eta: f64,
    fi_scale: f64,
    max_window: f64,
    window: f64,
    average_delay: f64,
    /// Where few packets fit into a round trip, each sample counts for more: else the average
    /// would tell of queues of many round trips ago, and the window would swing around the right
    /// one.
    delay_alpha: f64,
    inc_bytes: f64,
    received_bytes: f64,
    fast_count: f64,
    fast: bool,
    last_decrease: f64,
    last_adjustment: f64,
    adjustment_period: f64,
    achieved_bytes: f64,
    qa_end: Option<f64>,
    trigger_qa: bool,
    ignored_bytes: f64,
    bytes_to_ignore: f64,
}

impl Nscc {
    /// Begins with the largest window, as the specification does: a collective's step is often
    /// shorter than any search for the right one. `mtu` is the datagram size.
    pub fn new(config: &NsccConfig, mtu: u32) -> Self {
        let mtu = f64::from(mtu);
        let rate = config.rate.0 / 1e9;
        let base_rtt = config.base_rtt.get().max(1) as f64;
        let target = config.target_queue_delay.map_or(base_rtt, |t| t.get().max(1) as f64);
        let mut nscc = Self {
            rate,
            mtu,
            marking: config.marking,
            base_rtt,
            target,
            alpha: 0.0,
            fi: 0.0,
            eta: 0.0,
            fi_scale: 0.0,
            max_window: 0.0,
            window: 0.0,
            average_delay: 0.0,
            delay_alpha: DELAY_ALPHA,
            inc_bytes: 0.0,
            received_bytes: 0.0,
            fast_count: 0.0,
            fast: false,
            last_decrease: 0.0,
            last_adjustment: 0.0,
            adjustment_period: base_rtt,
            achieved_bytes: 0.0,
            qa_end: None,
            trigger_qa: false,
            ignored_bytes: 0.0,
            bytes_to_ignore: 0.0,
        };
        nscc.scale();
        nscc.bound_window();
        nscc.window = nscc.max_window;
        nscc
    }

    /// The average queuing delay that decreases go by.
    pub fn average_delay(&self) -> Nanos {
        Nanos(self.average_delay as u64)
    }

    /// The constants that grow with the datagram and with the configured network.
    fn scale(&mut self) {
        let reference = REFERENCE_RATE / 1e9 * REFERENCE_RTT;
        let scaling_a = self.rate * self.adjustment_period / reference;
        let scaling_b = self.target / REFERENCE_RTT;
        self.alpha = ALPHA_PACKETS * self.mtu * scaling_a * scaling_b / self.target;
        self.fi = FI_PACKETS * self.mtu * scaling_a;
        self.eta = ETA_PACKETS * self.mtu * scaling_a;
        self.fi_scale = FAST_INCREASE * scaling_a;
    }

    fn bound_window(&mut self) {
        let product = self.rate * f64::midpoint(self.base_rtt, self.target);
        self.max_window = (MAX_WINDOW * product).max(LEAST_MAX_DATAGRAMS * self.mtu);
        let packets = self.max_window / self.mtu;
        self.delay_alpha = (DELAY_ALPHA * REFERENCE_PACKETS / packets).min(MOST_DELAY_ALPHA);
    }

    fn clamp(&mut self) {
        self.window = self.window.clamp(self.mtu, self.max_window);
    }

    /// Queuing delay of a round trip; smaller round trips become the base.
    fn sample(&mut self, rtt: Option<Nanos>) -> Option<f64> {
        let rtt = rtt?.get().max(1) as f64;
        if rtt < self.base_rtt {
            self.base_rtt = rtt;
            self.bound_window();
        }
        Some(rtt - self.base_rtt)
    }

    fn average(&mut self, delay: f64, marked: bool) {
        let sample =
            if !marked && delay > self.target { CALM_DELAY * self.base_rtt } else { delay };
        self.average_delay += self.delay_alpha * (sample - self.average_delay);
    }

    /// Whether it acted, or this acknowledgement still tells of the time before it acted.
    fn quick_adapt(&mut self, now: f64, marked: bool, delay: f64, in_flight: f64) -> bool {
        let mut done = false;
        if self.ignored_bytes < self.bytes_to_ignore && marked {
            done = true;
        } else if self.qa_end.is_none_or(|end| now > end) {
            let asked = self.trigger_qa || delay > QA_THRESHOLD * self.target;
            let little = self.achieved_bytes < self.max_window / QA_GATE;
            if self.qa_end.is_some() && asked && little {
                self.window = self.window.min(self.achieved_bytes.max(self.mtu));
                self.bytes_to_ignore = in_flight;
                self.ignored_bytes = 0.0;
                self.trigger_qa = false;
                done = true;
            }
            self.achieved_bytes = 0.0;
            self.qa_end = Some(now + self.base_rtt + self.target);
        }
        if done {
            self.inc_bytes = 0.0;
            self.received_bytes = 0.0;
        }
        done
    }

    fn proportional_increase(&mut self, bytes: f64, delay: f64) {
        if !self.fast_increase(bytes, delay) {
            self.inc_bytes += self.alpha * bytes * (self.target - delay);
        }
    }

    fn fast_increase(&mut self, bytes: f64, delay: f64) -> bool {
        if delay < FAST_INCREASE_DELAY * self.base_rtt {
            self.fast_count += bytes;
            if self.fast_count > self.window || self.fast {
                self.window += bytes * self.fi_scale;
                self.fast = true;
                return true;
            }
        } else {
            self.fast_count = 0.0;
        }
        self.fast = false;
        false
    }

    fn multiplicative_decrease(&mut self, now: f64) {
        self.fast = false;
        self.fast_count = 0.0;
        let average = self.average_delay;
        if average > self.target && now - self.last_decrease > self.base_rtt {
            let excess = (average - self.target) / average;
            self.window *= (1.0 - GAMMA * excess).max(MAX_MD_JUMP);
            self.last_decrease = now;
        }
    }

    fn fulfill_adjustment(&mut self, now: f64) {
        self.window += self.inc_bytes / self.window;
        if now - self.last_adjustment >= self.adjustment_period {
            self.window += self.eta;
            self.last_adjustment = now;
        }
        self.inc_bytes = 0.0;
        self.received_bytes = 0.0;
    }
}

impl CongestionControl for Nscc {
    fn window(&self) -> u64 {
        self.window as u64
    }

    fn link_window(&self) -> Option<u64> {
        Some(self.max_window as u64)
    }

    fn set_datagram_bytes(&mut self, bytes: u32) {
        self.mtu = f64::from(bytes);
        self.scale();
        self.bound_window();
        self.clamp();
    }

    fn is_congested(&self, rtt: Nanos) -> bool {
        self.marking == Marking::Inferred && rtt.get() as f64 >= self.base_rtt + self.target
    }

    fn acknowledged(&mut self, ack: &Acknowledged) {
        let (now, bytes) = (ack.now.get() as f64, ack.bytes as f64);
        self.achieved_bytes += bytes;
        self.received_bytes += bytes;
        self.ignored_bytes += bytes;
        let sample = self.sample(ack.rtt);
        let delay = sample.unwrap_or(self.average_delay);
        let above = delay >= self.target;
        let marked = ack.marked || (self.marking == Marking::Inferred && above);
        if sample.is_some() {
            self.average(delay, marked);
        }
        if self.quick_adapt(now, marked, delay, ack.in_flight as f64) {
            self.clamp();
            return;
        }
        match (marked, above) {
            (false, true) => self.inc_bytes += self.fi * bytes,
            (false, false) => self.proportional_increase(bytes, delay),
            (true, true) => self.multiplicative_decrease(now),
            (true, false) => {}
        }
        self.clamp();
        let enough = self.received_bytes > ADJUST_PACKETS * self.mtu;
        if enough || now - self.last_adjustment > self.adjustment_period {
            self.fulfill_adjustment(now);
        }
        self.clamp();
    }

    fn lost(&mut self, loss: &Loss) {
        self.ignored_bytes += loss.bytes as f64;
        // A queue that overflows delays what it lets through. Where nothing was late, the packet
        // was not lost to congestion but to a broken path or a bad cable: a smaller window would
        // not help, and the other paths need all of it.
        if self.average_delay < self.target {
            return;
        }
        self.trigger_qa |= loss.timeout;
        self.window -= loss.bytes as f64;
        self.clamp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u32 = 4_096;

    fn nscc(marking: Marking) -> Nscc {
        let rate = Bandwidth(REFERENCE_RATE);
        let base_rtt = Nanos::micros(12);
        let config = NsccConfig { rate, base_rtt, target_queue_delay: None, marking };
        Nscc::new(&config, MTU)
    }

    fn feed(nscc: &mut Nscc, from: u64, count: u64, delay_us: u64, marked: bool) -> u64 {
        for i in 0..count {
            let now = Nanos(from + i * 400);
            let rtt = Some(Nanos::micros(12 + delay_us));
            let in_flight = nscc.window();
            nscc.acknowledged(&Acknowledged { now, bytes: 4_096, marked, rtt, in_flight });
        }
        from + count * 400
    }

    #[test]
    fn the_window_begins_at_one_and_a_half_times_the_product_of_bandwidth_and_delay() {
        assert_eq!(nscc(Marking::Fabric).window(), 225_000);
    }

    #[test]
    fn marks_above_the_target_decrease_and_marks_below_it_do_nothing() {
        let mut above = nscc(Marking::Fabric);
        feed(&mut above, 1, 400, 30, true);
        assert!(above.window() < 112_500, "{}", above.window());
        let mut below = nscc(Marking::Fabric);
        feed(&mut below, 1, 400, 6, true);
        assert_eq!(below.window(), 225_000);
    }

    #[test]
    fn a_decreased_window_grows_again_in_proportion_to_the_room_below_the_target() {
        let mut near = nscc(Marking::Fabric);
        near.window = 50_000.0;
        let mut far = near.clone();
        feed(&mut near, 100_000, 40, 10, false);
        feed(&mut far, 100_000, 40, 2, false);
        assert!(near.window() > 50_000 && far.window() > near.window());
    }

    #[test]
    fn delay_alone_decreases_when_nobody_marks() {
        let mut inferred = nscc(Marking::Inferred);
        feed(&mut inferred, 1, 400, 30, false);
        let mut fabric = nscc(Marking::Fabric);
        feed(&mut fabric, 1, 400, 30, false);
        assert!(inferred.window() < fabric.window() / 2);
    }

    #[test]
    fn quick_adapt_falls_to_what_arrived() {
        let mut nscc = nscc(Marking::Fabric);
        let end = feed(&mut nscc, 1, 2, 0, false);
        let end = feed(&mut nscc, end + 100_000, 2, 60, true);
        feed(&mut nscc, end + 100_000, 1, 60, true);
        assert!(nscc.window() <= 4 * u64::from(MTU), "{}", nscc.window());
    }
}
