/** Units of time in milliseconds, as edgerec/tasks/units.py has them. */
export const MS_PER_HOUR = 3_600_000;
export const MS_PER_DAY = 24 * MS_PER_HOUR;
