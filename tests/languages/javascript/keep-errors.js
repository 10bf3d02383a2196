// A filter: keeps the runs that failed, not more of a payload than the rule says.

const SCHEMA = {
  type: 'object',
  properties: { at_most: { type: 'number', description: 'Further runs are dropped.' } },
  additionalProperties: false,
};

/** @type {{ at_most?: number }} */
let config = {};

// Of this payload: each meets the module as `configure` has left it.
let kept = 0;

export const lifecycle = {
  describe() {
    return JSON.stringify({ description: 'Keeps the runs that failed.', version: '1.0.0', config_schema: SCHEMA });
  },

  configure(text) {
    config = JSON.parse(text);
    for (const [name, value] of Object.entries(config)) {
      const expected = SCHEMA.properties[name]?.type;
      if (!expected) throw `config: unknown field \`${name}\``;
      if (typeof value !== expected) throw `config field \`${name}\`: expected ${expected}`;
    }
  },
};

export const filter = {
  keep(run) {
    const isKept = run.status() === 'error' && kept !== config.at_most;
    if (isKept) kept += 1;
    return isKept;
  },
};
