import { anyPromtool, testAlerts } from './promtool.ts'

/** `npm run alerts`: the tests of the alerts, by the promtool that is installed, else by one built from source. */
process.stdout.write(await testAlerts(await anyPromtool()))
