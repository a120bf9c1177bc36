// PostGraphile is made for Node 22. Of what Node 20 lacks it uses this one function.

Promise.withResolvers ??= function withResolvers() {
  const pending = {};
  pending.promise = new this((resolve, reject) => Object.assign(pending, { resolve, reject }));
  return pending;
};
