/**
 * Adds a batch to the hashes of all its periods, the finest first, all at once or not at all. The first hash remembers
 * the number of the last batch of each server process: one that comes again is skipped.
 *
 * KEYS: hashes. ARGV: field of the mark, number, calls, failures, sum in ns, least ms, greatest ms, counts by bucket
 * ('412 3 413 1'), and for each hash when it expires (ms since the Unix epoch).
 *
 * Counts are whole numbers that a double holds exactly; a sum of ns may be greater, and is added by Redis.
 */
export const TALLY_SCRIPT = `
local seen = redis.call('HGET', KEYS[1], ARGV[1])
if seen and tonumber(seen) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local fields, counts = {'calls', 'failures'}, {ARGV[3], ARGV[4]}
for bucket, count in string.gmatch(ARGV[8], '(%d+) (%d+)') do
  fields[#fields + 1] = bucket
  counts[#counts + 1] = count
end
for i, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, 'minMs', 'maxMs', unpack(fields))
  local values = {}
  for j, field in ipairs(fields) do
    values[#values + 1] = field
    values[#values + 1] = string.format('%.0f', tonumber(found[j + 2] or 0) + tonumber(counts[j]))
  end
  if not found[1] or tonumber(ARGV[6]) < tonumber(found[1]) then
    values[#values + 1] = 'minMs'
    values[#values + 1] = ARGV[6]
  end
  if not found[2] or tonumber(ARGV[7]) > tonumber(found[2]) then
    values[#values + 1] = 'maxMs'
    values[#values + 1] = ARGV[7]
  end
  redis.call('HSET', key, unpack(values))
  redis.call('HINCRBY', key, 'sumNs', ARGV[5])
  redis.call('PEXPIREAT', key, ARGV[8 + i])
end
return 1
`;

/** What begins with it is a mark, and no number of a period. */
export const MARK = '@';
