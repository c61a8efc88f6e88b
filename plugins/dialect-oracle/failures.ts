import type { DriverError, DriverProblem } from '../../core/ports/index.ts';

/**
 * By number: Oracle's "Database Error Messages" (ORA-), and the driver's own (NJS-), which stand in
 * oracledb/lib/errors.js.
 */
const CODES: Readonly<Record<DriverProblem, readonly string[]>> = {
  duplicate: ['ORA-00001'],
  busy: [
    'ORA-00054', // resource busy, and NOWAIT or its time is over
    'ORA-00060', // deadlock
    'ORA-02049', // waited for a distributed transaction's lock
    'ORA-04020', // deadlock on an object's definition
    'ORA-04021', // waited for an object's definition
    'ORA-08177', // cannot serialize
    'ORA-14403', // a cursor's plan went stale after it got its lock
    'ORA-30006', // resource busy, WAIT is over
  ],
  timeout: [
    'ORA-00040', // the resource manager's limit of active time
    'ORA-01013', // the user asked to cancel
    'ORA-03156', // the call's time is over
    'NJS-123', // the same, told by the driver
  ],
  full: [
    'ORA-01653', // no room in a tablespace, a table
    'ORA-01654', // the same, an index
  ],
  unavailable: [
    'ORA-00018', // maximum of sessions
    'ORA-00020', // maximum of processes
    'ORA-00022', // invalid session
    'ORA-00028', // the session was killed
    'ORA-00257', // the archiver has no room
    'ORA-01012', // not logged on
    'ORA-01033', // starting up or shutting down
    'ORA-01034', // not available
    'ORA-01089', // shutting down
    'ORA-01090', // shutting down
    'ORA-01092', // the instance ended
    'ORA-01109', // not open
    'ORA-02391', // the user's limit of sessions
    'ORA-02396', // idle for too long
    'ORA-02399', // connected for too long
    'ORA-03113', // end of file on the channel
    'ORA-03114', // not connected
    'ORA-03135', // lost contact
    'ORA-12152', // a break could not be sent
    'ORA-12153', // not connected
    'ORA-12170', // connecting took too long
    'ORA-12514', // the listener does not know the service (yet)
    'ORA-12516', // the listener has no handler left
    'ORA-12518', // the listener could not hand over
    'ORA-12519', // no handler left
    'ORA-12520', // no handler of that kind left
    'ORA-12521', // the listener does not know the instance (yet)
    'ORA-12526', // restricted
    'ORA-12527', // restricted or not taking new ones
    'ORA-12528', // not taking new ones
    'ORA-12537', // connection closed
    'ORA-12541', // no listener
    'ORA-12543', // host not reached
    'ORA-12545', // host or object does not exist
    'ORA-12547', // lost contact
    'ORA-12560', // protocol adapter
    'ORA-12570', // packet reader
    'ORA-12571', // packet writer
    'ORA-12757', // the instance does not run
    'ORA-16000', // open for reading only: a standby, e.g. after a failover
    'ORA-16456', // a switchover goes on
    'ORA-25408', // could not be replayed safely after a failover
    'NJS-003', // the connection is closed
    'NJS-500', // the connection broke
    'NJS-501', // lost contact
    'NJS-503', // the connection could not be made
    'NJS-510', // connecting took too long
    'NJS-511', // refused by the listener
    'NJS-518', // the listener does not know the service (yet)
    'NJS-521', // ended while it was being made
    'NJS-530', // host not found
  ],
};

const PROBLEMS = new Map(
  Object.entries(CODES).flatMap(([problem, codes]) => codes.map((code) => [code, problem as DriverProblem] as const)),
);

/** The code, or the one that the message begins with: `ORA-00001: unique constraint ...`. */
export function codeOf({ code, message = '' }: DriverError): string {
  return typeof code === 'string' && /^(ORA|NJS)-\d+$/.test(code) ? code : (/^(ORA|NJS)-\d+/.exec(message)?.[0] ?? '');
}

export function classify(error: DriverError): DriverProblem | null {
  return PROBLEMS.get(codeOf(error)) ?? null;
}
