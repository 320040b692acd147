// Calls one exported function of a figure's module on every case read from stdin; prints values or error messages.
const [module, name] = process.argv.slice(2);
const call = (await import(module))[name];
let input = "";
for await (const chunk of process.stdin) input += chunk;
const results = JSON.parse(input).map((args) => {
  try { return { value: call(...args) }; } catch (error) { return { error: error.message }; }
});
console.log(JSON.stringify(results));
