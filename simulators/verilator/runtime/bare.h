// The plainest loop that can drive a design of one clock with its agents, as the yardstick of benchmarks/rtl_speed.py: no
// watchdog, no conditions but the end, no waveforms, no interrupts.
#pragma once

extern "C" uint64_t hd_bare(Simulation* s, const uint8_t* stop) {
    Top& top = *s->top;
    uint64_t cycle = s->cycles[0];
    const uint64_t begin = cycle;
    while (!*stop) {
        s->agents.each([&](auto& agent) { if (agent.bound) agent.drive(top, s->world, cycle); });
        set_clock(top, 0, false);
        top.eval();
        s->agents.each([&](auto& agent) { if (agent.bound) agent.sample(top, s->world, cycle); });
        set_clock(top, 0, true);
        top.eval();
        ++cycle;
    }
    s->cycles[0] = cycle;
    return cycle - begin;
}
