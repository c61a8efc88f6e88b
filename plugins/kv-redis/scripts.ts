/**
 * What has to happen as one, each on a single key, so that a cluster can do it too. Redis runs a script alone.
 * Numbers leave as texts with all their digits: Lua would write great ones with an exponent.
 */

/** ARGV: whether something is expected, what; whether something comes, what; ttlMs or 0. 1 where it was put. */
const swap = `
local there = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if there ~= ARGV[2] then return 0 end
elseif there then
  return 0
end
if ARGV[3] ~= '1' then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] == '0' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1`;

const sum = `
local function sum(there, by)
  local number = 0
  if there then
    if there ~= '0' and not (string.len(there) <= 17 and string.match(there, '^%-?[1-9]%d*$')) then return nil end
    number = tonumber(there)
  end
  number = number + tonumber(by)
  if number > 9007199254740991 or number < -9007199254740991 then return nil end
  if number == 0 then return '0' end
  return string.format('%.0f', number)
end`;

/** ARGV: by, ttlMs or 0. The sum; nil where there is none. */
const increment = `${sum}
local there = redis.call('GET', KEYS[1])
local text = sum(there, ARGV[1])
if not text then return nil end
if there then
  redis.call('SET', KEYS[1], text, 'KEEPTTL')
elseif ARGV[2] == '0' then
  redis.call('SET', KEYS[1], text)
else
  redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
end
return text`;

/** ARGV: field, by. The sum; nil where there is none. */
const hashIncrement = `${sum}
local text = sum(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2])
if not text then return nil end
redis.call('HSET', KEYS[1], ARGV[1], text)
return text`;

/** ARGV: ttlMs, or 0 for none. 1 where the key is there. */
const expire = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1`;

/**
 * A lock is a hash of its fence and of the time until which it is held; it stays a day longer than it is held, so that
 * its fences grow. They begin with the time in microseconds: they grow on where Redis lost all that it had, or another
 * one takes over whose clock is not more than a day behind.
 */
const now = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lock = redis.call('HMGET', KEYS[1], 'fence', 'untilMs')
local held = lock[2] and tonumber(lock[2]) > now`;
const hold = `
local function hold(fence, ms)
  redis.call('HSET', KEYS[1], 'fence', fence, 'untilMs', string.format('%.0f', now + ms))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ms + 86400000))
end`;

/** ARGV: ttlMs. The fence; nil where it is held. */
const acquire = `${now}${hold}
if held then return nil end
local fence = tonumber(time[1]) * 1000000 + tonumber(time[2])
if lock[1] and tonumber(lock[1]) >= fence then fence = tonumber(lock[1]) + 1 end
local text = string.format('%.0f', fence)
hold(text, tonumber(ARGV[1]))
return text`;

/** ARGV: fence, ttlMs; 0 gives it back. 1 where it was held. */
const renew = `${now}${hold}
if not held or lock[1] ~= ARGV[1] then return 0 end
hold(ARGV[1], tonumber(ARGV[2]))
return 1`;

export const scripts = { swap, increment, hashIncrement, expire, acquire, renew } as const;
export type Script = keyof typeof scripts;
