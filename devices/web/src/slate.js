/** From a pool of scored candidates to a list, step by step as in edgerec/runtime/slate.py, in float32. */
const SMOOTHED = 0.01;
const f = Math.fround;

/** A factor above 1 always raises the utility, also where it is negative. */
export function multiplied(utility, factor) {
  return f(utility >= 0 ? utility * factor : utility / factor);
}

/**
 * Positions in the pool of at most k items, first to last.
 * @param {number[]} utility
 * @param {{vectors?: Float32Array[], diversity?: number, quotas?: {group: number[], most: number}[],
 *          mix?: {group: number[], share: number[], strength: number} | null}} options
 */
export function arrange(utility, k, { vectors, diversity = 0, quotas = [], mix = null }) {
  const n = utility.length;
  const low = Math.min(...utility);
  const span = n ? f(Math.max(...utility) - low) || 1 : 1;
  const strength = mix === null ? 0 : mix.strength;
  const base = utility.map((u) => f(f(1 - diversity - strength) * f(f(u - low) / span)));
  const open = new Array(n).fill(true);
  const unit = diversity && vectors ? vectors.map(normed) : null;
  const likeness = new Array(n).fill(unit === null ? 0 : -1);
  const taken = mix === null ? [] : mix.share.map(() => 0);
  const counts = quotas.map(() => new Map());
  const chosen = [];
  while (chosen.length < Math.min(k, n)) {
    const apart = mix === null ? null : divergence(mix, taken);
    let best = -1;
    let most = -Infinity;
    for (let i = 0; i < n; i++) {
      if (!open[i]) continue;
      let gain = base[i];
      if (unit !== null && chosen.length) gain -= diversity * likeness[i];
      if (apart !== null) gain -= strength * (mix.group[i] >= 0 ? apart.with[mix.group[i]] : apart.without);
      if (gain > most) [best, most] = [i, gain];
    }
    if (best < 0) break;
    chosen.push(best);
    open[best] = false;
    if (unit !== null) for (let i = 0; i < n; i++) likeness[i] = Math.max(likeness[i], dot(unit[i], unit[best]));
    if (mix !== null && mix.group[best] >= 0) taken[mix.group[best]]++;
    quotas.forEach(({ group, most: limit }, q) => {
      const own = group[best];
      if (own < 0) return;
      counts[q].set(own, (counts[q].get(own) ?? 0) + 1);
      if (counts[q].get(own) >= limit) group.forEach((g, i) => g === own && (open[i] = false));
    });
  }
  return chosen;
}

function normed(vector) {
  const length = f(Math.sqrt(dot(vector, vector))) || 1;
  return vector.map((v) => v / length);
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return f(sum);
}

/** Divergence of the list's mix with one more item from the user's, by the item's group. Source: Steck, RecSys 2018. */
function divergence({ share }, taken) {
  const size = taken.reduce((a, b) => a + b, 0) + 1;
  const part = (count, s) => (s > 0 ? s * Math.log(s / ((1 - SMOOTHED) * (count / size) + SMOOTHED * s)) : 0);
  const before = taken.map((count, g) => part(count, share[g]));
  const without = before.reduce((a, b) => a + b, 0);
  return { without, with: taken.map((count, g) => without + part(count + 1, share[g]) - before[g]) };
}
