/** The client's process: it gets a window of load by IPC, drives it, and answers with what it saw. 'end' ends the window. */
import { drive, type Load } from './load.ts';

let window = new AbortController();

process.on('message', (load: Load | 'end') => {
  if (load === 'end') return window.abort();
  window = new AbortController();
  const before = process.cpuUsage();
  drive(load, window.signal).then(
    (loaded) => {
      const { user, system } = process.cpuUsage(before);
      process.send?.({ ...loaded, clientCpu: (user + system) / 1e6 / loaded.seconds });
    },
    (error: Error) => process.send?.({ failure: error.message }),
  );
});
process.once('disconnect', () => process.exit());
process.send?.('ready');
