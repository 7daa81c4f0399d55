import '../ui/styles/base.css';

import { createApp } from 'vue';

import { readCheckLink } from '../classroom/link';
import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import CheckPage from './CheckPage.vue';

startTheme();
startI18n();
createApp(CheckPage, { room: readCheckLink(new URL(location.href)) }).mount('#app');
