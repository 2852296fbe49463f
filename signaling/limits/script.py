"""The rule of ``rules.py`` in Lua, for scripts that charge in the same step in which they do something else.

Keys are ``{limits}:uses:NAME:HASH``: all on one node of a cluster, so that what one request is charged for is charged together or not at all.
"""

from typing import Final

PREFIX: Final = "{limits}:uses:"
"""Redis keys: this, the name of a limit, and a keyed hash of whom it limits."""

FUNCTIONS: Final = """
local function microseconds()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- charges: arrays of key, every, slack. Charges all of them and answers nil; or none, and answers which do not fit (counted from 0), each followed
-- by the microseconds to wait.
local function over(charges, now)
  local keys, numbers, refused = {}, {}, {}
  for i, one in ipairs(charges) do keys[i] = one[1] end
  local stored = redis.call('MGET', unpack(keys))
  for i, one in ipairs(charges) do
    local key, every, slack = unpack(one)
    local at = math.max(numbers[key] or tonumber(stored[i] or now), now)
    if at - now > slack then
      refused[#refused + 1] = i - 1
      refused[#refused + 1] = at - now - slack
    else
      numbers[key] = at + every
    end
  end
  if #refused > 0 then return refused end
  for key, at in pairs(numbers) do
    redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
  end
end
"""
"""Lua functions to put before a script that charges."""

TAKE: Final = f"""
{FUNCTIONS}
local out, now = {{}}, microseconds()
for i, charges in ipairs(cmsgpack.unpack(ARGV[1])) do out[i] = over(charges, now) or '' end
return out
"""
"""KEYS: any key of the limits. ARGV: lists of charges as MessagePack. Answers for each list '', or what ``over`` does."""
